//! Side calls of chat front ends: naming a chat, tagging it, proposing the next question.
//!
//! They come with the chat's own id and user, but are no turn of it. A front end says so itself, or
//! is known by the words that it ships with; `docs/openai.md` lists them.

use super::ask::Ask;
use crate::model::{ErrorKind, GatewayError};

/// What a side call begins with.
const HEADS: [&str; 1] = ["### Task:"];

/// What a side call holds somewhere, in lower case: the shipped wording of Open WebUI, LobeChat,
/// Cherry Studio and NextChat.
const WORDS: [&str; 7] = [
    "summarize the user's conversation into a title",
    "summarize the conversation into a title",
    "four to five word title",
    "generate a concise, 3-5 word title",
    "suggest 3-5 relevant follow-up",
    "generate 1-3 broad tags",
    "使用四到五个字直接返回这句话的简要主题",
];

/// A side call is short; longer texts are not searched through.
const MAX_BYTES: usize = 256 * 1024;

/// The answer to a side call where the operator wants none; front ends do without then.
pub fn refused() -> GatewayError {
    let message = "Titles, tags and the like are not made here.";
    GatewayError::new(404, ErrorKind::NotFound, "task_refused", message)
}

/// Whether a request is a side call.
pub fn is_task(ask: &Ask) -> bool {
    if ask.is_task {
        return true;
    }
    if ask.question.text.len() > MAX_BYTES {
        return false;
    }
    let text = ask.question.text.trim_start();
    if HEADS.iter().any(|head| text.starts_with(head)) {
        return true;
    }
    let system = ask.system.as_deref().filter(|text| text.len() <= MAX_BYTES).unwrap_or("");
    [text, system].iter().any(|text| {
        let text = text.to_lowercase();
        WORDS.iter().any(|words| text.contains(words))
    })
}

#[cfg(test)]
mod tests {
    use super::{HEADS, WORDS};

    #[test]
    fn the_pages_list_the_words_of_side_calls() {
        let pages =
            [include_str!("../../docs/openai.md"), include_str!("../../docs/openai.zh-CN.md")];
        for page in pages {
            for head in HEADS {
                assert!(page.contains(&format!("`{head}`")), "{head}");
            }
            for words in WORDS {
                assert!(page.contains(&format!("\n{words}\n")), "{words}");
            }
        }
    }
}
