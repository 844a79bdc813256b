//! Requests as chat front ends of 2026 form them; every text is ours.

use super::*;
use crate::adapter::completion_request::{Message, Role};

/// A request without a history: its system text and its question.
fn alone(system: Option<&str>, question: &str) -> CompletionRequest {
    let question = Message::new(Role::User, question);
    CompletionRequest {
        system: system.map(str::to_owned),
        question,
        ..CompletionRequest::default()
    }
}

/// The same as the next message of a chat.
fn in_chat(question: &str) -> CompletionRequest {
    let before =
        vec![Message::new(Role::User, "How do bees fly?"), Message::new(Role::Assistant, "Fast.")];
    CompletionRequest { before, ..alone(None, question) }
}

fn by_default(request: &CompletionRequest) -> bool {
    is_task(request, &WORDS)
}

#[test]
fn open_webui_puts_a_head_over_all_of_them() {
    for what in ["Name this chat.", "Find search words.", "给这段对话起个名字"] {
        let asked = format!("### Task:\n{what}\n<chat_history>\nUSER: hi\n</chat_history>");
        assert!(by_default(&alone(None, &asked)), "{what}");
    }
    // An operator has written another head.
    for what in
        ["Write a title.", "Which tags fit?", "What may follow up?", "为它写几个标签", "写一个标题"]
    {
        let asked =
            format!("# Job\n{what}\n<chat_history>\nUSER: hi\nASSISTANT: oh\n</chat_history>");
        assert!(by_default(&alone(None, &asked)), "{what}");
    }
}

#[test]
fn lobechat_says_in_the_system_text_what_it_wants() {
    let tagged = "<task>\nGo.\n</task>\n<conversation>\n<user>\nhi\n</user>\n</conversation>";
    let lines = "user: how do bees fly?\nassistant: fast";
    for system in [
        "Find a title.",
        "Sum it up in a summary.",
        "Give it three tags.",
        "请给出标题",
        "请写一段摘要",
    ] {
        for asked in [tagged, lines] {
            assert!(by_default(&alone(Some(system), asked)), "{system}");
        }
    }
    let last = "What the assistant said last:\n\"\"\"\nTea or coffee?\n\"\"\"";
    assert!(by_default(&alone(Some("Suggest what the user may answer."), last)));
    let last = "助手的最后一条消息：\n\"\"\"\n喝茶还是咖啡？\n\"\"\"";
    assert!(by_default(&alone(Some("给出几个建议的回答"), last)));
}

#[test]
fn cherry_studio_writes_the_chat_as_json() {
    let chat = r#"[{"role":"user","mainText":"bees?"},{"role":"assistant","mainText":"fast"}]"#;
    for system in ["Make a title of at most ten words.", "用十个字以内写一个标题"] {
        assert!(by_default(&alone(Some(system), chat)), "{system}");
    }
}

#[test]
fn librechat_asks_in_one_message() {
    for (what, chat) in [
        ("A short title, please, for this:", "User: how do bees fly?\nAI: fast\nvery"),
        ("写一个简短的标题：", "用户：蜜蜂怎么飞？\n助手：很快"),
    ] {
        assert!(by_default(&alone(None, &format!("{what}\n\n{chat}"))), "{what}");
    }
}

#[test]
fn nextchat_ends_the_chat_with_what_it_wants() {
    for asked in ["Which title of few words fits all this?", "用几个字给出以上对话的主题"]
    {
        let request = in_chat(asked);
        assert!(by_default(&request), "{asked}");
        assert!(
            !by_default(&CompletionRequest { streamed: true, ..request }),
            "its titles are not streamed"
        );
    }
    for asked in ["Write a summary for later.", "请把以上内容总结一下，以便以后使用"]
    {
        let request =
            CompletionRequest { is_asked_by_system: true, streamed: true, ..in_chat(asked) };
        assert!(by_default(&request), "{asked}");
        let request = CompletionRequest { is_asked_by_system: false, ..request };
        assert!(!by_default(&request), "a person may ask for it");
    }
}

#[test]
fn a_question_of_a_person_is_none() {
    for request in [
        alone(None, "Write a short title for my poem about bees."),
        alone(None, "这首诗应该叫什么标题？"),
        alone(None, "What does this chat mean?\nUser: hi\nAI: hello"),
        alone(None, "Sum up what we said:\nUser: hi\nAI: hello, what about a title?"),
        alone(Some("You translate."), "<conversation>hi, a title</conversation>"),
        alone(Some("You give tags."), "Translate:\n\"\"\"\nhello\n\"\"\""),
        alone(Some("You are kind to advantages of stages."), "user: hi\nassistant: oh"),
        in_chat("And what is its title?"),
        in_chat("总结一下"),
        in_chat("### Task:\nexplain it"),
        in_chat(&format!("Write a short title for this:\n{}", "bees ".repeat(200))),
    ] {
        assert!(!by_default(&request), "{:?}", request.question.text);
    }
}

#[test]
fn the_words_are_the_operators() {
    let request = alone(Some("Gib ihm einen Namen."), "user: hi\nassistant: oh");
    assert!(!by_default(&request));
    assert!(is_task(&request, &["namen"]));
    let named = CompletionRequest { is_task: true, ..in_chat("hi") };
    assert!(is_task::<&str>(&named, &[]), "it says so itself");
}

#[test]
fn a_long_text_and_one_with_files_are_none() {
    let long = format!("<conversation>{}</conversation>", "x".repeat(MAX_BYTES));
    assert!(!by_default(&alone(Some("Find a title."), &long)));
    let long = "rules ".repeat(MAX_INSTRUCTION_BYTES / 5);
    let long = format!("Find a title. {long}");
    assert!(!by_default(&alone(Some(&long), "user: hi\nassistant: oh")));
}

#[test]
fn the_pages_list_the_words_of_side_tasks() {
    let pages =
        [include_str!("../../../docs/openai.md"), include_str!("../../../docs/openai.zh-CN.md")];
    for page in pages {
        assert!(page.contains(&format!("`{HEAD}`")));
        for word in WORDS {
            assert!(page.contains(&format!("`{word}`")), "{word}");
        }
    }
}
