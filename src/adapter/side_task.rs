//! Side tasks of chat front ends: naming a chat, tagging it, summing it up, proposing the next question.
//!
//! They come with the chat's own id and user, but are no turn of it. A front end says so itself, or is
//! known by the shape of what it sends and by a few words (`ai.task_words`): `docs/openai.md` has
//! both. The words of a shape are looked for in what is asked for, never in the transcript itself.

use super::completion_request::CompletionRequest;
use super::pasted::{Pasted, PastedFormat, pasted};
use crate::model::{ErrorKind, GatewayError};

/// What Open WebUI puts over each of its tasks, whatever the operator makes of the rest.
const HEAD: &str = "### Task:";

/// What side tasks are about, in lower case: with letters of ASCII the beginning of a word.
pub const WORDS: [&str; 27] = [
    "title",
    "topic",
    "headline",
    "tag",
    "keyword",
    "summar",
    "follow-up",
    "follow up",
    "next question",
    "suggest",
    "emoji",
    "标题",
    "標題",
    "主题",
    "主題",
    "命名",
    "标签",
    "標籤",
    "关键词",
    "總結",
    "总结",
    "概括",
    "摘要",
    "追问",
    "追問",
    "建议",
    "建議",
];

/// What says besides that little is wanted, where the shape alone does not say enough.
const BRIEF: [&str; 9] = ["word", "short", "brief", "concise", "字", "简短", "简洁", "简要", "簡"];

/// A side task is short; longer texts are not searched through.
const MAX_BYTES: usize = 256 * 1024;
/// The same, of what is asked about a transcript.
const MAX_INSTRUCTION_BYTES: usize = 16 * 1024;
/// The same, of one that comes as the next message of the chat itself.
const MAX_MESSAGE_BYTES: usize = 600;

/// The answer to a side task where the operator wants none; front ends do without then.
pub fn refused() -> GatewayError {
    let message = "Side tasks such as titles and tags are disabled on this gateway.";
    GatewayError::new(404, ErrorKind::NotFound, "task_refused", message)
}

/// Whether a request is a side task, by its shape and these words.
pub fn is_task<W: AsRef<str>>(request: &CompletionRequest, words: &[W]) -> bool {
    if request.is_task {
        return true;
    }
    // Before anything goes through it.
    if request.question.text.len() > MAX_BYTES {
        return false;
    }
    let text = request.question.text.trim();
    if !request.question.attachments.is_empty() {
        return false;
    }
    let says = |text: &str| names(text, words);
    if !request.before.is_empty() {
        return closes(request, text, says);
    }
    text.starts_with(HEAD) || pasted(text).is_some_and(|found| is_about(&found, request, says))
}

/// Without a history, about a transcript in the question.
fn is_about(found: &Pasted<'_>, request: &CompletionRequest, says: impl Fn(&str) -> bool) -> bool {
    let system = request.system.as_deref().unwrap_or("");
    let around = [found.before, found.after];
    let size = system.len() + found.before.len() + found.after.len();
    if size > MAX_INSTRUCTION_BYTES {
        return false;
    }
    match found.form {
        PastedFormat::Marked => says(system) || around.iter().any(|text| says(text)),
        PastedFormat::Quoted => says(system),
        // A person may paste a chat and ask about it, too.
        PastedFormat::Lines => {
            says(system) || around.iter().any(|text| says(text) && names(text, &BRIEF))
        }
    }
}

/// With the chat as its history: NextChat ends it with a system message (a summary for its memory), or
/// with a short question for a title, whose answer it wants whole.
fn closes(request: &CompletionRequest, text: &str, says: impl Fn(&str) -> bool) -> bool {
    let is_brief = text.len() <= MAX_MESSAGE_BYTES && !text.contains("\n\n");
    is_brief
        && says(text)
        && (request.is_asked_by_system || (!request.streamed && names(text, &BRIEF)))
}

/// Whether a text has one of these words.
fn names<W: AsRef<str>>(text: &str, words: &[W]) -> bool {
    let text = text.to_lowercase();
    words.iter().map(AsRef::as_ref).any(|word| {
        let is_ascii = word.starts_with(|letter: char| letter.is_ascii());
        text.match_indices(word).any(|(at, _)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            !is_ascii || before.is_none_or(|letter| !letter.is_ascii_alphanumeric())
        })
    })
}

#[cfg(test)]
mod tests;
