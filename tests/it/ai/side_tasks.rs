//! Side tasks as chat front ends form them run beside the chat, whose conversation goes on as it was.

use dify_sim::Mode;
use http::StatusCode;
use serde_json::{Value, json};

use super::calls::{content, messages, rig_of, runs};
use super::threads::conversation;
use crate::rig::{Answer, Plan, Rig, post};

async fn say(rig: &Rig, all: &Value, streamed: bool) -> Answer {
    let body = json!({"model": "shop", "messages": all, "stream": streamed, "user": "ann"});
    let answer = rig.send(post("/v1/chat/completions", &body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer
}

/// What five front ends send after a chat of `one` and its answer; every text is ours.
fn side_tasks() -> Vec<(&'static str, Value, bool)> {
    let said = |role: &str, text: &str| json!({"role": role, "content": text});
    let chat = messages(&["one", "Echo: one"]).as_array().unwrap().clone();
    let with = |last: Value| Value::from([&chat[..], &[last]].concat());
    let json = json!([{"role": "user", "mainText": "one"}, {"role": "assistant", "mainText": "Echo: one"}]);
    vec![
        (
            "Open WebUI",
            json!([said(
                "user",
                "### Task:\nName it.\n<chat_history>\nUSER: one\n</chat_history>"
            )]),
            false,
        ),
        (
            "LobeChat",
            json!([
                said("system", "Find a title."),
                said("user", "<conversation>\n<user>\none\n</user>\n</conversation>")
            ]),
            true,
        ),
        (
            "LobeChat, what to say next",
            json!([
                said("system", "Suggest answers."),
                said("user", "The assistant said:\n\"\"\"\nEcho: one\n\"\"\"")
            ]),
            false,
        ),
        (
            "Cherry Studio",
            json!([said("system", "用十个字以内写一个标题"), said("user", &json.to_string())]),
            true,
        ),
        (
            "LibreChat",
            json!([said("user", "A short title for this:\n\nUser: one\nAI: Echo: one")]),
            false,
        ),
        ("NextChat", with(said("user", "用几个字给出以上对话的主题")), false),
        ("NextChat, its memory", with(said("system", "Write a summary for later.")), true),
    ]
}

#[tokio::test]
async fn side_tasks_of_front_ends_leave_the_chat_as_it_was() {
    for (program, asked, streamed) in side_tasks() {
        let rig = rig_of(1, Mode::Chat).await;
        let first = say(&rig, &messages(&["one"]), false).await;
        say(&rig, &asked, streamed).await;
        let second = say(&rig, &messages(&["one", "Echo: one", "recall"]), false).await;
        assert_eq!(content(&second), "Recall: one", "{program}");
        assert_eq!(conversation(&second), conversation(&first), "{program}");
        let runs = runs(&rig);
        assert_eq!(runs.len(), 3, "{program}");
        assert!(!runs[1].continued && runs[1].user.ends_with(":ann:task"), "{program}: {runs:?}");
        assert!(runs[2].continued && runs[2].user.ends_with(":ann"), "{program}: {runs:?}");
    }
}

#[tokio::test]
async fn an_operator_has_words_of_their_own() {
    let rig = Plan::new(1).with("ai: { tasks: refuse, task_words: [Überschrift] }").start().await;
    let status = async |system: &str| {
        let all = json!([{"role": "system", "content": system},
            {"role": "user", "content": "user: one\nassistant: two"}]);
        let body = json!({"model": "shop", "messages": all});
        let request = post("/v1/chat/completions", &body);
        rig.send(request).await.status
    };
    assert_eq!(status("Eine überschrift, bitte.").await, StatusCode::NOT_FOUND);
    assert_eq!(status("A title, please.").await, StatusCode::OK);
}
