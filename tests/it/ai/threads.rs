//! Which conversation of Dify a transcript goes on with.

use dify_sim::{Mode, Ran};
use http::StatusCode;
use serde_json::{Value, json};

use super::calls::{ask, content, messages, rig_of, runs};
use crate::rig::{Answer, Plan, Rig, post, request};

/// Dify's conversation of an answer.
pub(super) fn conversation(answer: &Answer) -> String {
    answer.header("x-difygate-conversation").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// What was run last.
fn last(rig: &Rig, query: &str) -> Ran {
    let all = runs(rig);
    let found = all.iter().rfind(|run| run.query.ends_with(query));
    found.unwrap_or_else(|| panic!("{query}: {all:?}")).clone()
}

#[tokio::test]
async fn a_second_turn_goes_on_and_an_edited_or_regenerated_one_begins_anew() {
    for mode in [Mode::Chat, Mode::AdvancedChat, Mode::AgentChat] {
        let rig = rig_of(3, mode).await;
        let first = rig.send(ask(&["one"])).await;
        let second = rig.send(ask(&["one", "Echo: one", "two"])).await;
        assert_eq!(conversation(&second), conversation(&first), "{mode:?}");
        assert_eq!(second.instance(), first.instance());
        let third = ["one", "Echo: one", "two", "Echo: two", "recall"];
        let third = rig.send(ask(&third)).await;
        assert_eq!(content(&third), "Recall: one | two", "{mode:?}");
        // The second answer once more: the old conversation has gone on, and is left alone.
        let again = rig.send(ask(&["one", "Echo: one", "two"])).await;
        assert_ne!(conversation(&again), conversation(&first), "{mode:?}");
        let seeded = last(&rig, "User: two");
        assert!(!seeded.continued && seeded.query.contains("Assistant: Echo: one"), "{seeded:?}");
        // The new branch goes on where it is.
        let answer = content(&again);
        let on_branch = ["one", "Echo: one", "two", &answer, "recall"];
        let on_branch = rig.send(ask(&on_branch)).await;
        assert_eq!(conversation(&on_branch), conversation(&again), "{mode:?}");
        // An edited first question begins anew, without anything of the old one.
        let edited = rig.send(ask(&["one, please"])).await;
        assert_ne!(conversation(&edited), conversation(&first), "{mode:?}");
        assert!(!last(&rig, "one, please").continued);
        // And the old branch can be taken up again.
        let old = ["one", "Echo: one", "two", "Echo: two", "recall", "Recall: one | two", "recall"];
        let old = rig.send(ask(&old)).await;
        assert_eq!(conversation(&old), conversation(&first), "{mode:?}");
        assert_eq!(content(&old), "Recall: one | two | recall", "{mode:?}");
    }
}

#[tokio::test]
async fn nobody_goes_on_with_anothers_conversation() {
    let keys = "keys: [{ name: other, secret: sk-other }]";
    let rig = Plan::new(1).with(keys).start().await;
    let first = rig.send(ask(&["one"])).await;
    let turn = messages(&["one", "Echo: one", "two"]);
    let bob = json!({"model": "shop", "messages": turn, "user": "bob"});
    let bobs = rig.send(post("/v1/chat/completions", &bob)).await;
    assert_ne!(conversation(&bobs), conversation(&first));
    let same_user = json!({"model": "shop", "messages": turn, "user": "alice"});
    let request = http::Request::post("/v1/chat/completions").header("x-api-key", "sk-other");
    let others = rig.send(request.body(same_user.to_string()).unwrap()).await;
    assert_ne!(conversation(&others), conversation(&first));
    let chat = json!({"model": "shop", "messages": turn, "user": "alice",
        "metadata": {"chat_id": "another chat"}});
    let chats = rig.send(post("/v1/chat/completions", &chat)).await;
    assert_ne!(conversation(&chats), conversation(&first));
    // An id that is known to be somebody else's is unknown.
    let named = json!({"model": "shop", "messages": messages(&["x"]), "user": "bob",
        "conversation": conversation(&first)});
    let named = rig.send(post("/v1/chat/completions", &named)).await;
    assert_eq!(named.status, StatusCode::NOT_FOUND, "{named:?}");
    assert_eq!(named.json()["error"]["code"], "conversation_not_found");
}

#[tokio::test]
async fn a_named_conversation_goes_on_whatever_the_transcript_is() {
    let rig = Rig::start(2).await;
    let first = conversation(&rig.send(ask(&["one"])).await);
    let body = json!({"model": "shop", "messages": messages(&["recall"]), "user": "alice"});
    let mut by_header = post("/v1/chat/completions", &body);
    by_header.headers_mut().insert("x-dify-conversation-id", first.parse().unwrap());
    assert_eq!(content(&rig.send(by_header).await), "Recall: one");
    let response = json!({"model": "shop", "input": "first", "user": "carol"});
    let response = rig.send(post("/v1/responses", &response)).await.json();
    let next = json!({"model": "shop", "input": "recall", "user": "carol",
        "previous_response_id": response["id"]});
    let second = rig.send(post("/v1/responses", &next)).await.json();
    assert_eq!(second["output"][0]["content"][0]["text"], "Recall: first", "{second}");
    // From the first response once more: a new conversation that begins with what was said.
    let branch = json!({"model": "shop", "input": "what", "user": "carol",
        "previous_response_id": response["id"]});
    let branch = rig.send(post("/v1/responses", &branch)).await;
    assert_eq!(branch.status, StatusCode::OK, "{branch:?}");
    let seeded = last(&rig, "User: what");
    assert!(seeded.query.contains("User: first") && !seeded.query.contains("recall"), "{seeded:?}");
    let unknown = json!({"model": "shop", "input": "x", "user": "carol",
        "previous_response_id": "resp_00000000000000000000000000000000"});
    let unknown = rig.send(post("/v1/responses", &unknown)).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert_eq!(unknown.json()["error"]["code"], "previous_response_not_found");
}

#[tokio::test]
async fn a_file_goes_to_the_conversation_although_nobody_knows_where_that_is() {
    let rig = Rig::start(2).await;
    let home = rig.send(ask(&["at home"])).await.instance();
    rig.refuse(&home).await;
    let away = rig.send(ask(&["one"])).await;
    assert_ne!(away.instance(), home);
    rig.dify(&home).set_fault(dify_sim::Fault::None).await.unwrap();
    // Another gateway knows of neither, and would take the file home.
    let beside = rig.beside().await;
    let file = json!([{"type": "text", "text": "recall"}, {"type": "file",
        "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}}]);
    let body = json!({"model": "shop", "user": "alice",
        "messages": [{"role": "user", "content": file}], "conversation": conversation(&away)});
    let answer = beside.send(post("/v1/chat/completions", &body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!((conversation(&answer), answer.instance()), (conversation(&away), away.instance()));
    assert!(content(&answer).starts_with("Recall: one"), "{answer:?}");
}

#[tokio::test]
async fn a_conversation_that_dify_has_lost_begins_anew_once() {
    let rig = Rig::start(2).await;
    let first = rig.send(ask(&["one"])).await;
    let old = conversation(&first);
    let user = last(&rig, "one").user;
    let delete = request("DELETE", &format!("/v1/conversations/{old}"))
        .header("content-type", "application/json")
        .body(json!({"user": user}).to_string())
        .unwrap();
    assert!(rig.send(delete).await.status.is_success());
    let second = rig.send(ask(&["one", "Echo: one", "two"])).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    assert_ne!(conversation(&second), old);
    assert!(last(&rig, "User: two").query.contains("Assistant: Echo: one"));
}

#[tokio::test]
async fn a_turn_that_broke_off_is_not_gone_on_with() {
    let rig = Rig::start(1).await;
    let first = conversation(&rig.send(ask(&["one"])).await);
    let failed = rig.send(ask(&["one", "Echo: one", "errmid a b"])).await;
    assert_eq!(failed.status, StatusCode::BAD_GATEWAY, "{failed:?}");
    // Dify has kept half a turn; a transcript without it belongs to another conversation.
    let second = rig.send(ask(&["one", "Echo: one", "two"])).await;
    assert_ne!(conversation(&second), first);
}

#[tokio::test]
async fn side_calls_run_beside_the_conversation_and_leave_nothing() {
    let rig = Plan::new(1).with("keys: [{ name: webui, secret: sk-webui, trusted_proxy: true }]");
    let rig = rig.start().await;
    let ask = |messages: Value| {
        let body = json!({"model": "shop", "messages": messages});
        let request = http::Request::post("/v1/chat/completions")
            .header("authorization", "Bearer sk-webui")
            .header("x-openwebui-user-id", "u-17")
            .header("x-openwebui-chat-id", "c-4");
        request.body(body.to_string()).unwrap()
    };
    let first = rig.send(ask(messages(&["one"]))).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_eq!(runs(&rig)[0].user, "webui:u-17");
    let title = "### Task:\nName this chat.\n<chat_history>\nUSER: one\n</chat_history>";
    let title = rig.send(ask(messages(&[title]))).await;
    assert_eq!(title.status, StatusCode::OK);
    let aside = runs(&rig)[1].clone();
    assert!(!aside.continued && aside.user == "webui:u-17:task", "{aside:?}");
    let second = rig.send(ask(messages(&["one", "Echo: one", "recall"]))).await;
    assert_eq!(content(&second), "Recall: one");
    assert_eq!(conversation(&second), conversation(&first));
    let path = format!("/v1/conversations/{}", conversation(&title));
    let deleted = async {
        let deletes = || {
            let served = rig.difys[0].served();
            served.into_iter().any(|served| served.method == "DELETE" && served.path == path)
        };
        while !deletes() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), deleted).await.unwrap();
    // Its headers name nobody to a key that is not trusted with them.
    let body = json!({"model": "shop", "messages": messages(&["untrusted"])});
    let mut request = post("/v1/chat/completions", &body);
    request.headers_mut().insert("x-openwebui-user-id", "u-17".parse().unwrap());
    assert_eq!(rig.send(request).await.status, StatusCode::OK);
    assert!(last(&rig, "untrusted").user.ends_with(":default"));
}

#[tokio::test]
async fn the_example_for_open_webui_serves_what_open_webui_sends() {
    let mut difys = Vec::new();
    for key in ["app-1", "app-2"] {
        let setup = dify_sim::Setup::default()
            .with_release(crate::rig::release())
            .with_app(dify_sim::App::new(Mode::Chat, key));
        difys.push(dify_sim::Dify::start(setup).await.unwrap());
    }
    let mut text = std::fs::read_to_string("examples/open-webui.yaml").unwrap();
    text = text.replace("0.0.0.0:8080", "127.0.0.1:0\nadmin: { listen: \"127.0.0.1:0\" }");
    for (number, dify) in (1..).zip(&difys) {
        text = text.replace(&format!("http://10.0.0.{number}:5001"), &dify.url());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    std::fs::write(&path, &text).unwrap();
    let vars = [("OPEN_WEBUI_KEY", "sk-webui"), ("DIFY1_KEY", "app-1"), ("DIFY2_KEY", "app-2")];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let environment = difygate::config::Environment { vars, ..Default::default() };
    let config = difygate::config::load(&path, &environment).unwrap().config;
    let gateway = difygate::cli::serve::Gateway::start(config, path, None).await.unwrap();
    let send = async |texts: &[&str], streamed: bool| {
        let body = json!({"model": "assistant", "messages": messages(texts), "stream": streamed});
        let request = http::Request::post("/v1/chat/completions")
            .header("authorization", "Bearer sk-webui")
            .header("x-openwebui-user-name", "%E5%BC%A0%E4%B8%89")
            .header("x-openwebui-user-id", "0b7e")
            .header("x-openwebui-user-email", "z@example.com")
            .header("x-openwebui-user-role", "user")
            .header("x-openwebui-chat-id", "9f1c");
        crate::rig::send(gateway.listen(), request.body(body.to_string()).unwrap()).await
    };
    let first = send(&["one"], true).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let title = "### Task:\nName this chat.";
    assert_eq!(send(&[title], false).await.status, StatusCode::OK);
    let second = send(&["one", "Echo: one", "recall"], false).await;
    assert_eq!(content(&second), "Recall: one");
    assert_eq!(conversation(&second), conversation(&first));
    let mut users: Vec<_> =
        difys.iter().flat_map(dify_sim::Dify::runs).map(|run| run.user).collect();
    users.sort();
    assert_eq!(users, ["open-webui:0b7e", "open-webui:0b7e", "open-webui:0b7e:task"]);
}

#[tokio::test]
async fn two_turns_of_a_conversation_at_once_do_not_meet() {
    let rig = Rig::start(1).await;
    let first = conversation(&rig.send(ask(&["one"])).await);
    let slow =
        tokio::spawn(crate::rig::send(rig.addr(), ask(&["one", "Echo: one", "tokens 100 0.05"])));
    let running = async {
        while runs(&rig).len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), running).await.unwrap();
    let beside = rig.send(ask(&["one", "Echo: one", "two"])).await;
    assert_ne!(conversation(&beside), first);
    assert_eq!(conversation(&slow.await.unwrap()), first);
}

#[tokio::test]
async fn mappings_are_counted_and_cleaned_up_by_who_has_them() {
    let rig =
        Plan::new(1).with("keys: [{ name: boss, secret: sk-boss, admin: true }]").start().await;
    rig.send(ask(&["one"])).await;
    let by = |secret: &'static str, method: &'static str, path: &'static str, body: Value| {
        let request = http::Request::builder().method(method).uri(path);
        request.header("authorization", format!("Bearer {secret}")).body(body.to_string()).unwrap()
    };
    let count = async |secret| {
        let get = by(secret, "GET", "/v1/conversation/mappings", Value::Null);
        rig.send(get).await.json()["mapping_count"].clone()
    };
    assert_eq!((count(crate::rig::TOKEN).await, count("sk-boss").await), (json!(1), json!(1)));
    assert_eq!(count("usertoken--flow").await, json!(0));
    let path = "/v1/conversation/cleanup";
    let none = rig.send(by("sk-boss", "POST", path, json!({"max_age_days": 1}))).await;
    assert_eq!(none.json()["removed_count"], 0, "{none:?}");
    let wrong = rig.send(by("sk-boss", "POST", path, json!({"max_age_days": "x"}))).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}
