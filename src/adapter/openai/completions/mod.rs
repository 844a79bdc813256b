//! `POST /v1/completions`: one prompt and no transcript. Fit for completion apps; other apps take it
//! as the first message of a conversation.

#[cfg(test)]
mod tests;
mod voice;

pub use self::voice::CompletionsVoice;
use super::common::{self, RefusedField};
use super::pass;
use crate::adapter::ask::{Ask, Role, Saying};
use crate::adapter::extras;
use crate::adapter::fields::{Fields, Part, items, wrong_type, wrong_value};
use crate::model::GatewayError;

/// The fields that no app can serve.
pub(super) const REFUSED: &[RefusedField] = &[
    ("n", pass::one, "An app gives one answer: leave out `n`, or set it to 1."),
    ("best_of", pass::one, "An app gives one answer: leave out `best_of`."),
    ("echo", pass::off, "The answer does not repeat the prompt: leave out `echo`."),
    ("suffix", pass::empty, "An app cannot fill a gap: leave out `suffix`."),
    ("logprobs", pass::off, "Dify does not tell probabilities: leave it out."),
];

/// Reads a request.
///
/// Errors are 400, with the place of what is wrong as `param`.
pub fn read(body: impl AsRef<[u8]>) -> Result<(Ask, CompletionsVoice), GatewayError> {
    let mut body = Fields::of_body(body.as_ref())?;
    let mut ask = Ask { model: common::model(&mut body)?, ..Ask::default() };
    common::refuse(&mut body, REFUSED)?;
    ask.question = Saying::new(Role::User, prompt(body.need_part("prompt")?)?);
    let with_usage = common::streaming(&mut body, &mut ask)?;
    ask.stop = common::stop(&mut body)?;
    let mut metadata = body.fields("metadata")?;
    extras::take(&mut body, &mut metadata, &mut ask)?;
    metadata.leave(&mut ask.ignored);
    body.leave(&mut ask.ignored);
    Ok((ask, CompletionsVoice::new(with_usage)))
}

/// A text, or a list of one.
fn prompt(value: Part<'_>) -> Result<String, GatewayError> {
    let text = match value {
        Part::Text(text) => text,
        Part::List(list) => {
            let list = items(list);
            match (&list[..], list.first().map(|first| Part::of(first))) {
                ([_], Some(Part::Text(text))) => text,
                ([_, ..], _) if list.iter().all(|item| item.get().starts_with('"')) => {
                    return Err(unsupported("several prompts"));
                }
                _ => return Err(unsupported("tokens")),
            }
        }
        _ => return Err(wrong_type("prompt", "a string")),
    };
    if text.trim().is_empty() {
        return Err(wrong_value("prompt", "must not be empty"));
    }
    Ok(text)
}

fn unsupported(what: &str) -> GatewayError {
    GatewayError::unsupported(
        "prompt",
        format!("An app takes one text and not {what}: send a string."),
    )
}
