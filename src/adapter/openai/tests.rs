//! The page about these doors says what they do.

use serde_json::{Value, json};

use super::common::Refusal;
use super::{audio, chat, completions};
use crate::adapter::fault::Fault;

const PAGE: &str = include_str!("../../../docs/openai.md");

const PAGE_ZH: &str = include_str!("../../../docs/openai.zh-CN.md");

/// The rows of the table below a line of a page: field, and what becomes of it.
fn table(page: &'static str, line: &str) -> Vec<(&'static str, &'static str)> {
    let (_, below) = page.split_once(&format!("\n{line}")).unwrap();
    let rows = below.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split_once('|').unwrap())
        .map(|(field, what)| (field.trim().trim_matches('`'), what.trim()))
        .collect()
}

/// What a door ignores of a body.
type Ignores = fn(&[u8]) -> Result<Vec<String>, Fault>;

#[test]
fn the_page_says_of_every_field_what_becomes_of_it() {
    let doors: [(&str, &[Refusal], Ignores); 3] = [
        ("`POST /v1/chat/completions`", chat::REFUSED, |body| {
            chat::read(body).map(|(ask, _)| ask.ignored)
        }),
        ("`POST /v1/completions`", completions::REFUSED, |body| {
            completions::read(body).map(|(ask, _)| ask.ignored)
        }),
        ("`POST /v1/audio/speech`", audio::REFUSED, |body| {
            audio::speech(body).map(|speech| speech.ignored)
        }),
    ];
    for (door, refused, ignores) in doors {
        let rows = table(PAGE, door);
        let of = |word: &str| -> Vec<&str> {
            let rows = rows.iter().filter(|(_, what)| what.starts_with(word));
            rows.map(|(field, _)| *field).collect()
        };
        let names: Vec<_> = refused.iter().map(|(name, ..)| *name).collect();
        assert_eq!(of("refused"), names, "{door}");
        let with = |field: &str, value: Value| {
            let messages = json!([{"role": "user", "content": "hi"}]);
            let mut body = match door {
                "`POST /v1/chat/completions`" => json!({"model": "m", "messages": messages}),
                "`POST /v1/completions`" => json!({"model": "m", "prompt": "hi"}),
                _ => json!({"model": "m", "input": "hi"}),
            };
            body[field] = value;
            ignores(body.to_string().as_bytes())
        };
        for field in of("ignored").into_iter().filter(|field| *field != "any other") {
            assert_eq!(with(field, json!(1)).unwrap(), [field], "{door}");
        }
        assert_eq!(of("ignored").last(), Some(&"any other"), "{door}");
        for field in of("mapped") {
            // No field may be a list that holds a number, so who reads it refuses it.
            let fault = with(field, json!([1])).unwrap_err();
            assert!(fault.param.unwrap().starts_with(field), "{door}: {field}");
        }
        let words = ["mapped", "ignored", "refused"];
        assert_eq!(
            words.into_iter().map(|word| of(word).len()).sum::<usize>(),
            rows.len(),
            "{door}"
        );
    }
}

#[test]
fn the_page_in_chinese_has_the_same_rows() {
    let words = [("mapped", "传递"), ("ignored", "忽略"), ("refused", "拒绝")];
    for line in ["`POST /v1/chat/completions`", "`POST /v1/completions`", "`POST /v1/audio/speech`"]
    {
        let (here, there) = (table(PAGE, line), table(PAGE_ZH, line));
        assert_eq!(here.len(), there.len(), "{line}");
        for ((field, what), (field_zh, what_zh)) in here.iter().zip(there) {
            assert!(*field == field_zh || *field == "any other", "{line}: {field}: {field_zh}");
            let same = |(word, word_zh): &(&str, &str)| {
                what.starts_with(word) && what_zh.starts_with(word_zh)
            };
            assert!(words.iter().any(same), "{line}: {field}: {what_zh}");
        }
    }
}
