//! A transcript that stands within a text: chat front ends ask about a chat by writing it out in one
//! message. How the programs of 2026 do it: between tags (Open WebUI, LobeChat), as a JSON list
//! (Cherry Studio), as lines that begin with who speaks (LibreChat, older LobeChat), or as the last
//! message between triple quotes (LobeChat).

use memchr::memchr;
use serde::Deserialize;

/// Between tags of one of these names a transcript stands.
const TAGS: [&str; 6] =
    ["chat_history", "conversation", "transcript", "messages", "history", "dialogue"];

/// Who speaks, at the start of a line and before a colon, in lower case.
const USER: [&str; 5] = ["user", "human", "用户", "用戶", "使用者"];
const ASSISTANT: [&str; 6] = ["assistant", "ai", "bot", "助手", "助理", "ai助手"];

const QUOTES: &str = "\"\"\"";

/// A text about a transcript.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pasted<'t> {
    /// What stands before it.
    pub(super) before: &'t str,
    /// What stands behind it.
    pub(super) after: &'t str,
    pub(super) form: PastedFormat,
}

/// How a transcript is written into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PastedFormat {
    /// Between tags, or as JSON: by a program.
    Marked,
    /// As lines that say who speaks: by a program, or by a person.
    Lines,
    /// A message of the assistant between quotes, and nothing else but what it is.
    Quoted,
}

/// The transcript in a text, if there is one.
pub(super) fn pasted(text: &str) -> Option<Pasted<'_>> {
    let text = text.trim();
    json(text).or_else(|| tagged(text)).or_else(|| quoted(text)).or_else(|| lines(text))
}

/// A list of messages and nothing else.
fn json(text: &str) -> Option<Pasted<'_>> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        role: std::borrow::Cow<'a, str>,
    }
    if !text.starts_with('[') {
        return None;
    }
    let messages: Vec<Message<'_>> = serde_json::from_str(text).ok()?;
    let is_one = messages.iter().any(|message| matches!(&*message.role, "user" | "assistant"));
    is_one.then_some(Pasted { before: "", after: "", form: PastedFormat::Marked })
}

fn tagged(text: &str) -> Option<Pasted<'_>> {
    memchr(b'<', text.as_bytes())?;
    let between = |name: &str| {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let from = text.find(&open)?;
        let to = text.rfind(&close).filter(|to| *to >= from + open.len())?;
        let (before, after) = (text.get(..from)?, text.get(to + close.len()..)?);
        Some(Pasted { before, after, form: PastedFormat::Marked })
    };
    TAGS.iter().find_map(|name| between(name))
}

/// A line that names the assistant's message, and that message between quotes.
fn quoted(text: &str) -> Option<Pasted<'_>> {
    // What most texts do not end with is looked for first.
    let (before, inner) = text.strip_suffix(QUOTES)?.split_once(QUOTES)?;
    let label = before.trim().to_lowercase();
    let names_it = ASSISTANT.iter().any(|name| label.contains(name));
    let is_label = label.lines().count() == 1 && (label.ends_with(':') || label.ends_with('：'));
    (!inner.trim().is_empty() && names_it && is_label).then_some(Pasted {
        before,
        after: "",
        form: PastedFormat::Quoted,
    })
}

/// Lines of both sides, from the first of the user on. What is behind a blank line after the last of
/// the assistant may be an instruction.
fn lines(text: &str) -> Option<Pasted<'_>> {
    let mut end = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        end += line.len();
        (end - line.len(), line)
    });
    let (mut first, mut last) = (None, None);
    for (at, line) in lines {
        let who = line.split_once([':', '：']).map(|(who, _)| who.trim().to_lowercase());
        let Some(who) = who else { continue };
        if first.is_none() && USER.contains(&who.as_str()) {
            first = Some(at);
        } else if first.is_some() && ASSISTANT.contains(&who.as_str()) {
            last = Some(at);
        }
    }
    let tail = text.get(last?..)?;
    let after = tail.rfind("\n\n").and_then(|at| tail.get(at..)).unwrap_or("");
    Some(Pasted { before: text.get(..first?)?, after, form: PastedFormat::Lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_found_however_it_is_written() {
        for (text, form, around) in [
            (
                "name it\n<chat_history>\nhi\n</chat_history>\nnow",
                PastedFormat::Marked,
                ("name it", "now"),
            ),
            ("<conversation><user>a</user></conversation>", PastedFormat::Marked, ("", "")),
            (r#"[{"role": "user", "mainText": "hi"}]"#, PastedFormat::Marked, ("", "")),
            ("The chat:\nUser: hi\nAI: hello\nthere", PastedFormat::Lines, ("The chat:", "")),
            ("user: hi\nassistant: oh\n\nname it", PastedFormat::Lines, ("", "name it")),
            ("用户：你好\n助手：您好", PastedFormat::Lines, ("", "")),
            (
                "What the assistant said:\n\"\"\"\nTea?\n\"\"\"",
                PastedFormat::Quoted,
                ("What the assistant said:", ""),
            ),
        ] {
            let found = pasted(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.before.trim(), found.after.trim()), around, "{text}");
            assert_eq!(found.form, form, "{text}");
        }
    }

    #[test]
    fn other_texts_have_none() {
        for text in [
            "",
            "what is a title?",
            "[1, 2]",
            r#"[{"role": "admin"}]"#,
            "</conversation><conversation>",
            "User: is this a dialogue?",
            "AI: yes\nUser: no",
            "Translate this:\n\"\"\"\nhello\n\"\"\"",
            "the assistant \"\"\"",
        ] {
            assert_eq!(pasted(text), None, "{text}");
        }
    }
}
