//! `POST /v1/chat/completions`: the request. `docs/openai.md` has the table of all fields.

mod encoder;

#[cfg(test)]
mod tests;

pub use self::encoder::ChatEncoder;
use super::request_fields::{self, RefusedField};
use super::{allowed_values, messages};
use crate::adapter::completion_request::CompletionRequest;
use crate::adapter::extensions;
use crate::adapter::json_object::JsonObject;
use crate::model::GatewayError;

/// The fields that no app can serve.
pub(super) const REFUSED: &[RefusedField] = &[
    ("n", allowed_values::one, "An app gives one answer: leave out `n`, or set it to 1."),
    ("tool_choice", allowed_values::free_choice, TOOL_CHOICE),
    ("function_call", allowed_values::free_choice, TOOL_CHOICE),
    ("response_format", allowed_values::text_format, RESPONSE_FORMAT),
    ("logprobs", allowed_values::off, LOGPROBS),
    ("top_logprobs", allowed_values::off, LOGPROBS),
    ("modalities", allowed_values::text_only, AUDIO),
    ("audio", allowed_values::nothing, AUDIO),
];

const TOOL_CHOICE: &str = "An app uses its own tools and cannot be made to call the client's: \
                           leave it out, or set it to `auto` or `none`.";
const RESPONSE_FORMAT: &str = "The app decides on the form of its answer: leave out \
                               `response_format`, or set its type to `text`.";
const LOGPROBS: &str = "Dify does not report log probabilities: leave it out.";
const AUDIO: &str = "Answers are text. For speech, send the answer to /v1/audio/speech.";

/// Reads a request.
///
/// Errors are 400, with the place of what is wrong as `param`.
pub fn read(body: impl AsRef<[u8]>) -> Result<(CompletionRequest, ChatEncoder), GatewayError> {
    let mut body = JsonObject::of_body(body.as_ref())?;
    let mut request = CompletionRequest {
        model: request_fields::model(&mut body)?,
        ..CompletionRequest::default()
    };
    request_fields::refuse(&mut body, REFUSED)?;
    messages::read(body.need_part("messages")?, &mut request)?;
    let with_usage = request_fields::streaming(&mut body, &mut request)?;
    request.stop = request_fields::stop(&mut body)?;
    let mut metadata = body.fields("metadata")?;
    extensions::take(&mut body, &mut metadata, &mut request)?;
    metadata.leave(&mut request.ignored);
    body.leave(&mut request.ignored);
    Ok((request, ChatEncoder::new(with_usage)))
}
