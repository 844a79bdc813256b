//! Splits long events: a line of a stream stays below 64 KiB where its protocol allows that.
//!
//! Readers of event streams have limits for a line: those of aiohttp, which Open WebUI uses, die at
//! 128 KiB. A piece of Dify's is as long as Dify likes: the answer of a workflow is one.
//!
//! What stays whole: the events of the Responses API that repeat the answer (`….done`,
//! `response.completed`), one single source, the sources in Anthropic's `message_delta`, and the text
//! that replaces an answer. Their protocols want each of these in one event.

use bytes::BytesMut;
use serde::Serialize;

use super::response_encoder::{AppEvent, ResponseEncoder, Source};

/// The most bytes of a piece as JSON; what stands around it has room below 64 KiB.
const MAX_PIECE: usize = 48 * 1024;

/// Encodes one event, in several frames if it is long.
pub fn encode(encoder: &mut dyn ResponseEncoder, event: AppEvent, out: &mut BytesMut) {
    match event {
        AppEvent::Text(text) if written(&text) > MAX_PIECE => {
            for piece in texts(&text) {
                encoder.encode(&AppEvent::Text(piece.to_owned()), out);
            }
        }
        AppEvent::Reasoning(text) if written(&text) > MAX_PIECE => {
            for piece in texts(&text) {
                encoder.encode(&AppEvent::Reasoning(piece.to_owned()), out);
            }
        }
        AppEvent::Sources(sources) => {
            for some in groups(sources) {
                encoder.encode(&AppEvent::Sources(some), out);
            }
        }
        event => encoder.encode(&event, out),
    }
}

/// How many bytes a text has as JSON, at most.
fn written(text: &str) -> usize {
    // Most pieces of an answer are some words.
    match text.len() {
        short if short <= MAX_PIECE / 6 => short,
        _ => text.chars().map(in_json).sum(),
    }
}

fn in_json(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        '\0'..='\x1f' => 6,
        other => other.len_utf8(),
    }
}

/// A text cut between characters.
fn texts(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let end = text.char_indices().find(|(_, letter)| {
            bytes += in_json(*letter);
            bytes > MAX_PIECE
        });
        let (piece, rest) = text.split_at(end.map_or(text.len(), |(at, _)| at));
        text = rest;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// Sources so many at a time as have room; at least one.
fn groups(sources: Vec<Source>) -> Vec<Vec<Source>> {
    let (mut groups, mut bytes) = (Vec::<Vec<Source>>::new(), 0);
    for source in sources {
        let more = length(&source);
        match groups.last_mut() {
            Some(group) if bytes + more <= MAX_PIECE => group.push(source),
            _ => {
                bytes = 0;
                groups.push(vec![source]);
            }
        }
        bytes += more;
    }
    groups
}

/// What a source takes in a frame: all that Dify says, and title and address once more.
fn length(source: &Source) -> usize {
    json_bytes(&source.raw) + json_bytes(&source.title) + json_bytes(&source.url)
}

fn json_bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::adapter::openai::chat;
    use crate::adapter::response_encoder::ResponseStart;
    use crate::adapter::{anthropic, openai};

    /// What an encoder writes for one event, without the events that end an answer.
    fn said(mut encoder: impl ResponseEncoder, event: AppEvent) -> Vec<String> {
        let mut out = BytesMut::new();
        encoder.start(&ResponseStart::default(), &mut out);
        encode(&mut encoder, event, &mut out);
        String::from_utf8(out.to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    fn longest(lines: &[String]) -> usize {
        lines.iter().map(String::len).max().unwrap_or(0)
    }

    #[test]
    fn a_long_text_is_several_deltas_of_every_protocol() {
        let text = "\u{1}\n\"Grüße, 你好".repeat(20_000);
        let chat =
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();
        let prompt = json!({"model": "m", "prompt": "x"}).to_string();
        let input = json!({"model": "m", "input": "x"}).to_string();
        let message = json!({"model": "m", "max_tokens": 1, "thinking": {"type": "adaptive"},
            "messages": [{"role": "user", "content": "x"}]});
        let message = message.to_string();
        for event in [AppEvent::Text(text.clone()), AppEvent::Reasoning(text.clone())] {
            for lines in [
                said(chat::read(chat.as_bytes()).unwrap().1, event.clone()),
                said(openai::completions::read(prompt.as_bytes()).unwrap().1, event.clone()),
                said(openai::responses::read(input.as_bytes()).unwrap().1, event.clone()),
                said(anthropic::messages::read(message.as_bytes()).unwrap().1, event.clone()),
            ] {
                assert!(longest(&lines) < 64 << 10, "{}", longest(&lines));
            }
        }
        let lines = said(chat::read(chat.as_bytes()).unwrap().1, AppEvent::Text(text.clone()));
        let chunks = lines.iter().filter_map(|line| line.strip_prefix("data: "));
        let summary: String = chunks
            .map(|chunk| serde_json::from_str::<serde_json::Value>(chunk).unwrap())
            .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(summary, text);
    }

    #[test]
    fn many_sources_are_several_chunks_and_all_of_them() {
        let source = |number: usize| Source {
            title: format!("t{number}"),
            url: None,
            raw: json!({"content": "x".repeat(10_000), "position": number}),
        };
        let all: Vec<_> = (0..20).map(source).collect();
        let body =
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();
        let lines = said(chat::read(body.as_bytes()).unwrap().1, AppEvent::Sources(all.clone()));
        assert!(longest(&lines) < 64 << 10, "{}", longest(&lines));
        let summary: usize = lines.iter().map(|line| line.matches("position").count()).sum();
        assert_eq!(summary, 20);
        let one = Source { raw: json!("x".repeat(100_000)), ..Source::default() };
        assert_eq!(groups(vec![one.clone(), one]).len(), 2);
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_and_none_is_too_long(part in ".{1,40}", times in 1usize..3000) {
            let text = part.repeat(times);
            let pieces: Vec<_> = texts(&text).collect();
            prop_assert_eq!(pieces.concat(), text.as_str());
            for piece in pieces {
                prop_assert!(!piece.is_empty() && json_bytes(&piece) <= MAX_PIECE + 2);
            }
        }
    }
}
