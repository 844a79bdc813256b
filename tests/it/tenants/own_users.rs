//! A key speaks for its own users, on every path and in every place where Dify reads one.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Answer, Plan, Rig, TOKEN, form, raw, request, requests};

const KEYS: &str = "keys: [{ name: ka, secret: sk-a }, { name: kb, secret: sk-b }, \
                    { name: kc, secret: sk-c, user: team }, \
                    { name: admin, secret: sk-admin, impersonate: true }]";

fn by(secret: &str, method: &str, path: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path).header("x-difygate-app", "shop");
    request.header("authorization", format!("Bearer {secret}"))
}

fn json_by(secret: &str, method: &str, path: &str, body: &str) -> Request<String> {
    let request = by(secret, method, path).header("content-type", "application/json");
    request.body(body.to_owned()).unwrap()
}

fn turn(secret: &str, user: &str, conversation: &str) -> Request<String> {
    let body = json!({ "inputs": {}, "query": "hello", "response_mode": "blocking", "user": user,
                       "conversation_id": conversation });
    json_by(secret, "POST", "/v1/chat-messages", &body.to_string())
}

/// The user that the last request was for, as Dify has understood it.
fn last_user(rig: &Rig) -> Option<String> {
    requests(&rig.difys[0]).pop().unwrap().user
}

async fn get(rig: &Rig, secret: &str, path: &str) -> Answer {
    rig.send(by(secret, "GET", path).body("").unwrap()).await
}

#[tokio::test]
async fn another_keys_conversations_are_neither_listed_nor_continued() {
    let rig = Plan::new(1).with(KEYS).start().await;
    let first = rig.send(turn("sk-a", "alice", "")).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let conversation = first.json()["conversation_id"].as_str().unwrap().to_owned();
    let listed = async |secret: &str, user: &str| {
        let listed = get(&rig, secret, &format!("/v1/conversations?user={user}")).await;
        assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
        listed.json()["data"].as_array().unwrap().len()
    };
    assert_eq!(listed("sk-a", "alice").await, 1);
    assert_eq!(listed("sk-a", "ka:alice").await, 1);
    assert_eq!(listed("sk-admin", "ka:alice").await, 1);
    assert_eq!(listed(TOKEN, "ka%3Aalice").await, 1);
    for user in ["alice", "ka:alice", "kb:ka:alice"] {
        assert_eq!(listed("sk-b", user).await, 0, "{user}");
        let stolen = rig.send(turn("sk-b", user, &conversation)).await;
        let other = stolen.json()["conversation_id"].clone();
        assert!(stolen.status == 404 || other != *conversation, "{user}: {stolen:?}");
        let path = format!("/v1/messages?conversation_id={conversation}&user={user}");
        assert_eq!(get(&rig, "sk-b", &path).await.status, StatusCode::NOT_FOUND, "{user}");
    }
    let again = rig.send(turn("sk-a", "ka:alice", &conversation)).await;
    assert_eq!(again.json()["conversation_id"], *conversation);
}

#[tokio::test]
async fn a_json_body_says_the_user_with_the_keys_name_before_it_once() {
    let rig = Plan::new(1).with(KEYS).start().await;
    let rest = r#""inputs": {}, "query": "q", "response_mode": "blocking""#;
    for (secret, body, expected) in [
        ("sk-a", format!(r#"{{"user": "alice", {rest}}}"#), "ka:alice"),
        ("sk-a", format!(r#"{{{rest}, "user" : "ka:alice" }}"#), "ka:alice"),
        ("sk-a", format!(r#"{{"user": "x", {rest}, "us\u0065r": "\u00e9\"\n"}}"#), "ka:é\""),
        ("sk-a", format!(r#"{{"user": "x", {rest}, "user": null}}"#), "ka:default"),
        ("sk-a", format!("{{{rest}}} \n"), "ka:default"),
        ("sk-c", format!(r#"{{"user": "", {rest}}}"#), "kc:team"),
        ("sk-admin", format!(r#"{{"user": "alice", {rest}}}"#), "alice"),
        (TOKEN, format!(r#"{{"user": "ka:alice", {rest}}}"#), "ka:alice"),
    ] {
        let answer = rig.send(json_by(secret, "POST", "/v1/chat-messages", &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {answer:?}");
        assert_eq!(last_user(&rig).as_deref(), Some(expected), "{body}");
        let served = requests(&rig.difys[0]).pop().unwrap();
        let sent = String::from_utf8(served.body).unwrap();
        let sent: Value = serde_json::from_str(sent.trim_start_matches('\u{feff}')).unwrap();
        assert_eq!((&sent["query"], &sent["user"]), (&json!("q"), &json!(expected)));
    }
    // What is said to be packed is read by Dify all the same.
    let body = format!(r#"{{"user": "kb:bob", {rest}}}"#);
    let mut packed = json_by("sk-a", "POST", "/v1/chat-messages", &body);
    packed.headers_mut().insert("content-encoding", "identity".parse().unwrap());
    assert_eq!(rig.send(packed).await.status, StatusCode::OK);
    assert_eq!(last_user(&rig).as_deref(), Some("ka:kb:bob"));
    // Two types could be read as one or the other.
    let mut two = json_by("sk-a", "POST", "/v1/chat-messages", &body);
    two.headers_mut().append("content-type", "text/plain".parse().unwrap());
    assert_eq!(rig.send(two).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_query_says_it_too_and_the_rest_of_it_stays() {
    let rig = Plan::new(1).with(KEYS).start().await;
    for (path, sent, expected) in [
        ("/v1/conversations?limit=5&user=alice", "limit=5&user=ka%3Aalice", "ka:alice"),
        ("/v1/conversations?us%65r=alice&user=bob", "user=ka%3Aalice&user=ka%3Abob", "ka:alice"),
        ("/v1/conversations?user=&limit=%35", "user=ka%3Adefault&limit=%35", "ka:default"),
        ("/v1/conversations", "user=ka%3Adefault", "ka:default"),
        ("/dify/v1/conversations?user=ka:alice", "user=ka%3Aalice", "ka:alice"),
    ] {
        let answer = get(&rig, "sk-a", path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        assert_eq!(last_user(&rig).as_deref(), Some(expected), "{path}");
        let served = requests(&rig.difys[0]).pop().unwrap();
        assert_eq!(served.path, format!("/v1/conversations?{sent}"), "{path}");
    }
    get(&rig, "sk-a", "/v1/info?x=1").await;
    assert_eq!(requests(&rig.difys[0]).pop().unwrap().path, "/v1/info?x=1");
}

#[tokio::test]
async fn a_form_says_it_too_wherever_it_is_kept() {
    let settings = format!("limits: {{ memory_body: 64KiB }}\n{KEYS}");
    let rig = Plan::new(1).with(&settings).start().await;
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for content in [&b"hello"[..], &large] {
        let file = ("file", Some("a.txt"), content);
        for (parts, expected) in [
            (vec![("user", None, &b"alice"[..]), file], "ka:alice"),
            (vec![file, ("user", None, b"ka:alice")], "ka:alice"),
            (vec![("user", None, b""), file, ("user", None, b"bob")], "ka:default"),
            (vec![file], "ka:default"),
        ] {
            let request = by("sk-a", "POST", "/v1/files/upload");
            let request = request.header("content-type", "multipart/form-data; boundary=rig");
            let answer = rig.send(request.body(form(&parts)).unwrap()).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
            assert_eq!(answer.json()["size"], content.len());
            assert_eq!(last_user(&rig).as_deref(), Some(expected));
        }
    }
    let pairs = by("sk-a", "POST", "/v1/files/upload")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("a=1&user=alice&user=bob")
        .unwrap();
    rig.send(pairs).await;
    let served = requests(&rig.difys[0]).pop().unwrap();
    assert_eq!(String::from_utf8(served.body).unwrap(), "a=1&user=ka%3Aalice&user=ka%3Abob");
}

#[tokio::test]
async fn the_ring_goes_by_the_same_user_on_every_path() {
    let rig = Plan::new(3).with(KEYS).start().await;
    for user in ["alice", "bob", "carol", "dave", "eve", "frank"] {
        let keyed = format!("ka:{user}");
        let at = rig.instance_of(&keyed).await;
        assert_eq!(rig.send(turn("sk-a", user, "")).await.instance(), at, "{user}");
        let listed = get(&rig, "sk-a", &format!("/v1/conversations?user={user}")).await;
        assert_eq!(listed.instance(), at, "{user}");
        let named = by("sk-a", "GET", "/v1/parameters").header("x-user-id", user);
        assert_eq!(rig.send(named.body("").unwrap()).await.instance(), at, "{user}");
        let body = json!({ "model": "shop", "user": user,
                           "messages": [{ "role": "user", "content": "hi" }] });
        let path = "/v1/chat/completions";
        let asked = rig.send(json_by("sk-a", "POST", path, &body.to_string())).await;
        assert_eq!(asked.instance(), at, "{user}");
    }
    let users: Vec<_> =
        rig.difys.iter().flat_map(dify_sim::Dify::runs).map(|run| run.user).collect();
    assert!(users.iter().all(|user| user.starts_with("ka:")), "{users:?}");
}

#[tokio::test]
async fn a_user_has_255_characters_in_all_six_places_and_with_its_prefix() {
    let rig = Plan::new(1).with(KEYS).start().await;
    let (fits, long) = ("é".repeat(255), "é".repeat(256));
    let encode = |user: &str| user.replace('é', "%C3%A9");
    let place = |place: &str, user: &str| {
        let coded = encode(user);
        let get = |path: String| request("GET", &path);
        let (builder, body) = match place {
            "header" => (get("/v1/info".into()).header("x-user-id", user.as_bytes()), Vec::new()),
            "query user_id" => (get(format!("/v1/info?user_id={coded}")), Vec::new()),
            "cookie" => {
                (get("/v1/info".into()).header("cookie", format!("user_id={coded}")), Vec::new())
            }
            "query user" => (get(format!("/v1/conversations?user={coded}")), Vec::new()),
            "json" => {
                let builder = request("POST", "/v1/chat-messages");
                let body = json!({ "inputs": {}, "query": "q", "user": user }).to_string();
                (builder.header("content-type", "application/json"), body.into_bytes())
            }
            _ => {
                let builder = request("POST", "/v1/files/upload");
                let kind = "multipart/form-data; boundary=rig";
                let parts = [("file", Some("a.txt"), &b"x"[..]), ("user", None, user.as_bytes())];
                (builder.header("content-type", kind), form(&parts))
            }
        };
        builder.body(body).unwrap()
    };
    for name in ["header", "query user_id", "cookie", "query user", "json", "form"] {
        let refused = rig.send(place(name, &long)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name}: {refused:?}");
        assert_eq!(refused.json()["status"], 400);
        assert!(refused.text().contains("255 characters"), "{name}: {refused:?}");
    }
    assert_eq!(rig.served(), [0]);
    for name in ["header", "query user_id", "cookie", "query user", "json", "form"] {
        let answer = rig.send(place(name, &fits)).await;
        assert!(answer.status.is_success(), "{name}: {answer:?}");
    }
    let before = rig.served();
    for (user, fits) in [("u".repeat(252), true), ("u".repeat(253), false)] {
        let answer = get(&rig, "sk-a", &format!("/v1/conversations?user={user}")).await;
        assert_eq!(answer.status == StatusCode::OK, fits, "{answer:?}");
        assert_eq!(rig.send(turn("sk-a", &user, "")).await.status == StatusCode::OK, fits);
    }
    assert_eq!(rig.served()[0], before[0] + 2);
    // Three of them took the instance out for everybody once.
    for _ in 0..5 {
        let head = format!(
            "GET /v1/conversations?user={} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
             Connection: close\r\n\r\n",
            "x".repeat(300)
        );
        assert!(raw(rig.addr(), head.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    }
    assert_eq!(rig.chat("bob").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_names_no_user_is_shown_to_the_key_whose_answer_named_it() {
    let rig = Plan::new(1).with(KEYS).start().await;
    let flow = |secret: &str| {
        let body =
            json!({ "inputs": { "text": "hi" }, "response_mode": "blocking", "user": "alice" });
        let mut request = json_by(secret, "POST", "/v1/workflows/run", &body.to_string());
        request.headers_mut().insert("x-difygate-app", "flow".parse().unwrap());
        request
    };
    let ran = rig.send(flow("sk-a")).await;
    assert_eq!(ran.status, StatusCode::OK, "{ran:?}");
    let run = ran.json()["workflow_run_id"].as_str().unwrap().to_owned();
    let detail = async |secret: &str| {
        let mut request = by(secret, "GET", &format!("/v1/workflows/run/{run}")).body("").unwrap();
        request.headers_mut().insert("x-difygate-app", "flow".parse().unwrap());
        rig.send(request).await.status.as_u16()
    };
    assert_eq!((detail("sk-a").await, detail("sk-b").await), (200, 404));
    assert_eq!((detail("sk-admin").await, detail("usertoken--flow").await), (200, 200));

    let first = rig.send(turn("sk-a", "alice", "")).await.json();
    let message = first["message_id"].as_str().unwrap();
    let sound = json!({ "message_id": message, "user": "alice" }).to_string();
    let heard = rig.send(json_by("sk-b", "POST", "/v1/text-to-audio", &sound)).await;
    assert_eq!(heard.status, StatusCode::NOT_FOUND);
    let own = rig.send(json_by("sk-a", "POST", "/v1/text-to-audio", &sound)).await;
    assert_ne!(own.status, StatusCode::NOT_FOUND, "{own:?}");

    let id = "02b4ca2f-e6b9-4817-9796-79ad0513ede0";
    for path in [
        format!("/v1/files/{id}/preview"),
        format!("/v1/end-users/{id}"),
        format!("/v1/apps/annotation-reply/enable/status/{id}"),
        "/v1/form/human_input/abcdefghijklmnopqrstuv".to_owned(),
    ] {
        let served = rig.served();
        assert_eq!(get(&rig, "sk-a", &path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(rig.served(), served, "{path}");
    }
    for path in ["/v1/workflows/logs", "/v1/apps/annotations", "/v1/app/feedbacks"] {
        let served = rig.served();
        let refused = get(&rig, "sk-a", path).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert!(refused.text().contains("impersonate"), "{refused:?}");
        assert_eq!(rig.served(), served, "{path}");
        get(&rig, "sk-admin", path).await;
        assert_ne!(rig.served(), served, "{path}");
    }
    let made = json!({ "question": "q", "answer": "a" }).to_string();
    let made = rig.send(json_by("sk-a", "POST", "/v1/apps/annotations", &made)).await;
    assert_eq!(made.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_token_that_an_apps_users_share_cleans_up_nothing() {
    let keys = "keys: [{ name: boss, secret: sk-boss, admin: true }, { name: ka, secret: sk-a }]";
    let rig = Plan::new(1).with(keys).start().await;
    let body = json!({ "model": "shop", "messages": [{ "role": "user", "content": "hi" }] });
    let clean = json!({ "max_age_days": 0 }).to_string();
    let clean = |secret: &str| json_by(secret, "POST", "/v1/conversation/cleanup", &clean);
    for secret in [TOKEN, "sk-a"] {
        let path = "/v1/chat/completions";
        let asked = rig.send(json_by(secret, "POST", path, &body.to_string())).await;
        assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
    }
    let count = async |secret: &str| {
        get(&rig, secret, "/v1/conversation/mappings").await.json()["mapping_count"].clone()
    };
    let refused = rig.send(clean(TOKEN)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert_eq!(count("sk-boss").await, 2);
    for secret in ["sk-a", "sk-boss"] {
        assert_eq!(rig.send(clean(secret)).await.status, StatusCode::OK, "{secret}");
    }
}

/// A token of `user_jwt` with the secret `hush`, that ends in the year 2100.
fn signed(user: &str, secret: &[u8]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit as _, Mac as _};

    let claims = json!({ "sub": user, "exp": 4_102_444_800_u64 });
    let parts = [json!({ "alg": "HS256" }), claims];
    let [header, claims] = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_forwarded_user_beats_the_bodys_and_a_signed_one_is_needed_where_it_is_configured() {
    let keys =
        "keys: [{ name: ui, secret: sk-ui, trusted_proxy: true }, { name: ka, secret: sk-a }]";
    let body = json!({ "model": "shop", "user": "mallory", "inputs": {}, "query": "q",
                       "response_mode": "blocking",
                       "messages": [{ "role": "user", "content": "hi" }] });
    let ask = |secret: &str, path: &str, header: &str, value: &str| {
        let request = by(secret, "POST", path).header("content-type", "application/json");
        request.header(header, value).body(body.to_string()).unwrap()
    };
    let paths = ["/v1/chat/completions", "/v1/chat-messages"];
    let ran = |rig: &Rig| rig.difys[0].runs().pop().unwrap().user;

    let rig = Plan::new(1).with(keys).start().await;
    for path in paths {
        let header = "x-openwebui-user-id";
        assert_eq!(rig.send(ask("sk-ui", path, header, "bob")).await.status, StatusCode::OK);
        assert_eq!(ran(&rig), "ui:bob", "{path}");
        assert_eq!(rig.send(ask("sk-a", path, header, "bob")).await.status, StatusCode::OK);
        assert_eq!(ran(&rig), "ka:mallory", "{path}");
    }

    let jwt = "ai: { user_jwt: { header: X-User-Jwt, secret: hush } }";
    let rig = Plan::new(1).with(keys).with(jwt).start().await;
    for path in paths {
        for secret in ["sk-ui", "sk-a"] {
            for bad in ["", "x.y.z", &signed("bob", b"other")] {
                let refused = rig.send(ask(secret, path, "x-user-jwt", bad)).await;
                assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path} {bad}");
            }
        }
        assert!(rig.difys[0].runs().iter().all(|run| !run.user.ends_with("mallory")));
        let good = rig.send(ask("sk-ui", path, "x-user-jwt", &signed("bob", b"hush"))).await;
        assert_eq!(good.status, StatusCode::OK, "{good:?}");
        assert_eq!(ran(&rig), "ui:bob", "{path}");
    }
}
