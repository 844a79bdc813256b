//! `POST /v1/chat/completions`.

mod voice;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod voice_tests;

pub use self::voice::ChatVoice;
use super::fields::{Fields, Rule, Rules};
use super::{messages, pass};
use crate::adapter::ask::Ask;
use crate::adapter::fault::Fault;

/// Every field of OpenAI's, and ours.
pub(super) const RULES: &Rules = &[
    ("model", Rule::Mapped),
    ("messages", Rule::Mapped),
    ("stream", Rule::Mapped),
    ("stream_options", Rule::Mapped),
    ("stop", Rule::Mapped),
    ("user", Rule::Mapped),
    ("safety_identifier", Rule::Mapped),
    ("metadata", Rule::Mapped),
    ("inputs", Rule::Mapped),
    ("conversation", Rule::Mapped),
    ("conversation_id", Rule::Mapped),
    ("n", Rule::Refused(pass::one, "An app gives one answer: leave out `n`, or set it to 1.")),
    ("tool_choice", Rule::Refused(pass::free_choice, TOOL_CHOICE)),
    ("function_call", Rule::Refused(pass::free_choice, TOOL_CHOICE)),
    ("response_format", Rule::Refused(pass::text_format, RESPONSE_FORMAT)),
    ("logprobs", Rule::Refused(pass::off, LOGPROBS)),
    ("top_logprobs", Rule::Refused(pass::off, LOGPROBS)),
    ("modalities", Rule::Refused(pass::text_only, AUDIO)),
    ("audio", Rule::Refused(pass::nothing, AUDIO)),
    ("tools", Rule::Ignored),
    ("parallel_tool_calls", Rule::Ignored),
    ("functions", Rule::Ignored),
    ("max_tokens", Rule::Ignored),
    ("max_completion_tokens", Rule::Ignored),
    ("temperature", Rule::Ignored),
    ("top_p", Rule::Ignored),
    ("seed", Rule::Ignored),
    ("frequency_penalty", Rule::Ignored),
    ("presence_penalty", Rule::Ignored),
    ("logit_bias", Rule::Ignored),
    ("verbosity", Rule::Ignored),
    ("reasoning_effort", Rule::Ignored),
    ("service_tier", Rule::Ignored),
    ("prompt_cache_key", Rule::Ignored),
    ("prompt_cache_retention", Rule::Ignored),
    ("store", Rule::Ignored),
    ("prediction", Rule::Ignored),
    ("web_search_options", Rule::Ignored),
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
pub fn read(body: &[u8]) -> Result<(Ask, ChatVoice), Fault> {
    let mut ask = Ask::default();
    let mut fields = Fields::read(body, RULES, &mut ask)?;
    ask.model = fields.model()?;
    messages::read(fields.take("messages"), &mut ask)?;
    let with_usage = fields.streaming(&mut ask)?;
    ask.stop = fields.stop()?;
    let user = fields.continuity(&mut ask)?;
    ask.user = fields.user(user)?;
    ask.inputs = fields.map("inputs")?;
    Ok((ask, ChatVoice::new(with_usage)))
}
