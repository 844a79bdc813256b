//! Files that an app makes: their addresses reach the instance that has them, through the gateway.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::canned::{Answers, Canned, Said, stream};
use crate::rig::send;

const SIGNED: &str = "timestamp=1&nonce=ab&sign=Wpa2-_aW%3D";

/// The file that an instance makes in each run.
fn path_of(number: u128) -> String {
    format!("/files/tools/{}.png", Uuid::from_u128(number))
}

/// Another one: a file that the text names is not told again.
fn other_path_of(number: u128) -> String {
    path_of(number + 100)
}

/// An instance whose runs end with a picture of its own, which it calls by an address that only it knows.
/// Half of it says so in the text, the other in an event.
fn instance(number: u128) -> Arc<Answers> {
    Arc::new(move |line: &str| -> Option<Said> {
        let paths = [path_of(number), other_path_of(number)];
        if line.starts_with("GET /files/") {
            let kind = "content-type: image/png\r\n".to_owned();
            return Some(match paths.iter().any(|path| line == format!("GET {path}")) {
                true => ("200 OK", kind, format!("picture of {number}")),
                false => (
                    "404 NOT FOUND",
                    "content-type: application/json\r\n".to_owned(),
                    json!({"code": "not_found", "message": "File not found", "status": 404})
                        .to_string(),
                ),
            });
        }
        if !line.starts_with("POST") {
            return None;
        }
        let [link, other] = paths.map(|path| format!("http://api-{number}:5001{path}?{SIGNED}"));
        let ids = |mut event: serde_json::Value| {
            for id in ["task_id", "message_id", "conversation_id"] {
                event[id] = Uuid::new_v4().to_string().into();
            }
            event
        };
        Some(stream(&[
            ids(json!({"event": "message", "answer": format!("See [it]({link}) and ")})),
            ids(json!({"event": "message_file", "id": "f", "type": "image",
                "belongs_to": "assistant", "url": other})),
            ids(json!({"event": "message_end", "metadata": {}})),
        ]))
    })
}

/// The answer to a question of a user, and the addresses in it.
async fn addresses(canned: &Canned, user: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let messages = json!([{"role": "user", "content": "draw"}]);
    let body = json!({"model": "shop", "messages": messages, "user": user});
    let mut request =
        Request::post("/v1/chat/completions").header("authorization", "Bearer sk-team");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = send(canned.addr(), request.body(Bytes::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links: Vec<_> = links.map(str::to_owned).collect();
    assert_eq!(links.len(), 2, "{text}");
    links
}

#[tokio::test]
async fn a_made_files_address_reaches_the_instance_that_has_it() {
    let both = [1, 2].map(|number| (String::new(), instance(number))).to_vec();
    let canned = Canned::over("", both).await;
    let gateway = format!("http://{}", canned.addr());
    let mut seen = BTreeSet::new();
    for user in 0..64 {
        for link in addresses(&canned, &format!("u{user}"), &[]).await {
            let path = link.strip_prefix(&gateway).unwrap_or_else(|| panic!("{link}"));
            let get = Request::get(path).body(Bytes::new()).unwrap();
            let file = send(canned.addr(), get).await;
            assert_eq!(file.status, StatusCode::OK, "{link}: {file:?}");
            let number = [1, 2].into_iter().find(|number| {
                [path_of(*number), other_path_of(*number)].iter().any(|own| path.starts_with(own))
            });
            assert_eq!(file.text(), format!("picture of {}", number.unwrap()));
            seen.insert(number);
        }
    }
    assert_eq!(seen.len(), 2, "both have answered");
}

#[tokio::test]
async fn what_clients_see_of_the_gateway_is_what_its_trusted_proxy_says() {
    let forwarded = [("x-forwarded-proto", "https"), ("x-forwarded-host", "ai.example.org")];
    for (top, base) in [
        ("trusted_proxies: [127.0.0.1]\n", "https://ai.example.org/files/tools/"),
        ("", "http://127.0.0.1:"),
    ] {
        let canned = Canned::over(top, vec![(String::new(), instance(1))]).await;
        for link in addresses(&canned, "u", &forwarded).await {
            assert!(link.starts_with(base) && link.ends_with(SIGNED), "{link}");
        }
    }
}

#[tokio::test]
async fn an_instance_may_have_its_files_elsewhere() {
    let settings = ", files_url: \"https://files.example.org/one/\"".to_owned();
    let canned = Canned::over("", vec![(settings, instance(1))]).await;
    let paths = [path_of(1), other_path_of(1)];
    let expected = paths.map(|path| format!("https://files.example.org/one{path}?{SIGNED}"));
    assert_eq!(addresses(&canned, "u", &[]).await, expected);
}
