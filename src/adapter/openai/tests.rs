//! The pages in docs/ about these endpoints are true.

use serde_json::json;

use super::{audio, chat, completions};
use crate::adapter::docs_table;

const PAGE: &str = include_str!("../../../docs/openai.md");
const PAGE_ZH: &str = include_str!("../../../docs/openai.zh-CN.md");
const RESPONSES: &str = include_str!("../../../docs/openai-responses.md");
const RESPONSES_ZH: &str = include_str!("../../../docs/openai-responses.zh-CN.md");
const ANTHROPIC: &str = include_str!("../../../docs/anthropic.md");
const ANTHROPIC_ZH: &str = include_str!("../../../docs/anthropic.zh-CN.md");

#[test]
fn the_page_says_of_every_field_of_a_chat_what_becomes_of_it() {
    let samples = json!({
        "n": 2,
        "tool_choice": "required",
        "function_call": {"name": "f"},
        "response_format": {"type": "json_object"},
        "logprobs": true,
        "modalities": ["audio"],
    });
    let least = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    docs_table::is_true((PAGE, "Chat completions"), &least, &samples, |body| {
        chat::read(body.to_string().as_bytes()).map(|(request, _)| request.ignored)
    });
}

#[test]
fn the_page_says_of_every_field_of_a_completion_what_becomes_of_it() {
    let samples = json!({"n": 2, "best_of": 2, "echo": true, "suffix": "x"});
    let least = json!({"model": "m", "prompt": "hi"});
    docs_table::is_true((PAGE, "Completions"), &least, &samples, |body| {
        completions::read(body.to_string().as_bytes()).map(|(request, _)| request.ignored)
    });
}

#[test]
fn the_page_says_of_every_field_of_speech_what_becomes_of_it() {
    let least = json!({"model": "m", "input": "hi"});
    docs_table::is_true((PAGE, "Speech"), &least, &json!({}), |body| {
        audio::speech(body.to_string().as_bytes()).map(|speech| speech.ignored)
    });
}

#[test]
fn what_is_refused_stands_on_the_page() {
    let endpoints = [
        ("Chat completions", chat::REFUSED),
        ("Completions", completions::REFUSED),
        ("Speech", audio::REFUSED),
    ];
    for (heading, refused) in endpoints {
        let rows = docs_table::table(PAGE, heading);
        let rows = rows.iter().filter(|(_, what)| what.starts_with("refused"));
        assert!(
            rows.map(|(field, _)| field).eq(refused.iter().map(|(name, ..)| name)),
            "{heading}"
        );
    }
}

#[test]
fn the_pages_in_chinese_have_the_same_rows() {
    let words = [("mapped", "传递"), ("ignored", "忽略"), ("refused", "拒绝")];
    let (openai, responses) = ((PAGE, PAGE_ZH), (RESPONSES, RESPONSES_ZH));
    let tables = [
        (openai, "Chat completions", "Chat completions"),
        (openai, "Completions", "Completions"),
        (openai, "Transcriptions", "语音转文字"),
        (openai, "Speech", "文字转语音"),
        (responses, "Fields", "字段"),
        ((ANTHROPIC, ANTHROPIC_ZH), "Fields", "字段"),
    ];
    for ((page, page_zh), heading, heading_zh) in tables {
        let (here, there) =
            (docs_table::table(page, heading), docs_table::table(page_zh, heading_zh));
        assert_eq!(here.len(), there.len(), "{heading}");
        for ((field, what), (field_zh, what_zh)) in here.iter().zip(there) {
            assert!(*field == field_zh || *field == "any other", "{heading}: {field}: {field_zh}");
            let same = |(word, word_zh): &(&str, &str)| {
                what.starts_with(word) && what_zh.starts_with(word_zh)
            };
            assert!(words.iter().any(same), "{heading}: {field}: {what_zh}");
        }
    }
}
