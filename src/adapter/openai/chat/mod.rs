//! `POST /v1/chat/completions`: the request. `docs/openai.md` has the table of all fields.

mod voice;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod voice_tests;

pub use self::voice::ChatVoice;
use super::common::{self, RefusedField};
use super::{messages, pass};
use crate::adapter::ask::Ask;
use crate::adapter::extras;
use crate::adapter::fields::Fields;
use crate::model::GatewayError;

/// The fields that no app can serve.
pub(super) const REFUSED: &[RefusedField] = &[
    ("n", pass::one, "An app gives one answer: leave out `n`, or set it to 1."),
    ("tool_choice", pass::free_choice, TOOL_CHOICE),
    ("function_call", pass::free_choice, TOOL_CHOICE),
    ("response_format", pass::text_format, RESPONSE_FORMAT),
    ("logprobs", pass::off, LOGPROBS),
    ("top_logprobs", pass::off, LOGPROBS),
    ("modalities", pass::text_only, AUDIO),
    ("audio", pass::nothing, AUDIO),
];

const TOOL_CHOICE: &str = "An app uses its own tools and cannot be made to call the client's: \
                           leave it out, or set it to `auto` or `none`.";
const RESPONSE_FORMAT: &str = "The app decides on the form of its answer: leave out \
                               `response_format`, or set its type to `text`.";
const LOGPROBS: &str = "Dify does not tell probabilities: leave it out.";
const AUDIO: &str = "Answers are text. For speech, send the answer to /v1/audio/speech.";

/// Reads a request.
///
/// Errors are 400, with the place of what is wrong as `param`.
pub fn read(body: impl AsRef<[u8]>) -> Result<(Ask, ChatVoice), GatewayError> {
    let mut body = Fields::of_body(body.as_ref())?;
    let mut ask = Ask { model: common::model(&mut body)?, ..Ask::default() };
    common::refuse(&mut body, REFUSED)?;
    messages::read(body.need_part("messages")?, &mut ask)?;
    let with_usage = common::streaming(&mut body, &mut ask)?;
    ask.stop = common::stop(&mut body)?;
    let mut metadata = body.fields("metadata")?;
    extras::take(&mut body, &mut metadata, &mut ask)?;
    metadata.leave(&mut ask.ignored);
    body.leave(&mut ask.ignored);
    Ok((ask, ChatVoice::new(with_usage)))
}
