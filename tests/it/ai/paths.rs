//! Paths as clients write them, and those that nobody serves.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::calls::messages;
use crate::rig::{Answer, Plan, TOKEN};

const KEY: &str = "sk-team";

fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Request<String> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body.to_string()).unwrap()
}

#[tokio::test]
async fn a_careless_path_is_served_and_an_unknown_one_is_404_in_the_callers_protocol() {
    let rig = Plan::new(1).with("keys: [{ name: team, secret: sk-team }]").start().await;
    let bearer = format!("Bearer {KEY}");
    let ai = [("authorization", bearer.as_str())];
    let chat = json!({"model": "shop", "messages": messages(&["hi"])});
    for path in ["/v1/chat/completions/", "//v1//chat/completions", "/v1/v1/chat/completions"] {
        let answer = rig.send(request("POST", path, &ai, &chat)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    }
    let anthropic = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let code = |answer: &Answer| answer.json()["error"]["code"].clone();
    for (method, path) in
        [("POST", "/v1/embeddings"), ("GET", "/v1/chat/completions"), ("POST", "/chat/completions")]
    {
        let answer = rig.send(request(method, path, &ai, &json!({}))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {answer:?}");
        assert_eq!(code(&answer), "unsupported_endpoint", "{path}");
        let answer = rig.send(request(method, path, &anthropic, &json!({}))).await;
        assert_eq!(answer.json()["error"]["type"], "not_found_error", "{path}: {answer:?}");
    }
    // Of an app's own token it is Dify's to say.
    let own = format!("Bearer {TOKEN}");
    let answer =
        rig.send(request("POST", "/v1/embeddings", &[("authorization", &own)], &json!({})));
    assert!(answer.await.header("x-difygate-instance").is_some());
}

#[tokio::test]
async fn anthropics_clients_list_models_and_count_tokens_in_their_words() {
    let rig = Plan::new(1).with("keys: [{ name: team, secret: sk-team }]").start().await;
    let fields = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    for path in ["/v1/models", "/anthropic/v1/models"] {
        let list = rig.send(request("GET", path, &fields, &json!(null))).await.json();
        assert_eq!(
            (&list["first_id"], &list["data"][0]["type"]),
            (&json!("shop"), &json!("model"))
        );
    }
    let one = rig.send(request("GET", "/v1/models/none", &fields, &json!(null))).await;
    assert_eq!((one.status, &one.json()["type"]), (StatusCode::NOT_FOUND, &json!("error")));
    let body = json!({"model": "shop", "messages": messages(&["hello"])});
    let counted = rig.send(request("POST", "/v1/messages/count_tokens", &fields, &body)).await;
    assert!(counted.json()["input_tokens"].as_u64().unwrap() > 0, "{counted:?}");
    assert_eq!(counted.json()["x_dify"]["usage_source"], "estimate");
    let open = [("authorization", "Bearer sk-team")];
    let list = rig.send(request("GET", "/v1/models", &open, &json!(null))).await.json();
    assert_eq!(list["object"], "list");
}
