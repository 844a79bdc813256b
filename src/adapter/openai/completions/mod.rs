//! `POST /v1/completions`: one prompt and no transcript. Fit for completion apps; other apps take it
//! as the first message of a conversation.

mod encoder;
#[cfg(test)]
mod tests;

pub use self::encoder::CompletionsEncoder;
use super::allowed_values;
use super::request_fields::{self, RefusedField};
use crate::adapter::completion_request::{CompletionRequest, Message, Role};
use crate::adapter::extensions;
use crate::adapter::json_object::{JsonObject, Part, items, wrong_type, wrong_value};
use crate::model::GatewayError;

/// The fields that no app can serve.
pub(super) const REFUSED: &[RefusedField] = &[
    ("n", allowed_values::one, "An app gives one answer: leave out `n`, or set it to 1."),
    ("best_of", allowed_values::one, "An app gives one answer: leave out `best_of`."),
    ("echo", allowed_values::off, "The answer does not repeat the prompt: leave out `echo`."),
    ("suffix", allowed_values::empty, "An app cannot fill a gap: leave out `suffix`."),
    ("logprobs", allowed_values::off, "Dify does not report log probabilities: leave it out."),
];

/// Reads a request.
///
/// Errors are 400, with the place of what is wrong as `param`.
pub fn read(
    body: impl AsRef<[u8]>,
) -> Result<(CompletionRequest, CompletionsEncoder), GatewayError> {
    let mut body = JsonObject::of_body(body.as_ref())?;
    let mut request = CompletionRequest {
        model: request_fields::model(&mut body)?,
        ..CompletionRequest::default()
    };
    request_fields::refuse(&mut body, REFUSED)?;
    request.question = Message::new(Role::User, prompt(body.need_part("prompt")?)?);
    let with_usage = request_fields::streaming(&mut body, &mut request)?;
    request.stop = request_fields::stop(&mut body)?;
    let mut metadata = body.fields("metadata")?;
    extensions::take(&mut body, &mut metadata, &mut request)?;
    metadata.leave(&mut request.ignored);
    body.leave(&mut request.ignored);
    Ok((request, CompletionsEncoder::new(with_usage)))
}

/// A text, or a list of one.
fn prompt(value: Part<'_>) -> Result<String, GatewayError> {
    let text = match value {
        Part::Text(text) => text,
        Part::List(list) => {
            let list: Vec<_> = items(list).collect();
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
