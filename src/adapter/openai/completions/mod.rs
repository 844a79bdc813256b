//! `POST /v1/completions`: one prompt, no chat. Fit for completion apps; other apps answer it as the
//! first message of a conversation that nobody continues.

#[cfg(test)]
mod tests;
mod voice;

use serde_json::Value;

pub use self::voice::CompletionsVoice;
use super::fields::{Fields, Rule, Rules, missing, wrong_type, wrong_value};
use super::pass;
use crate::adapter::ask::{Ask, Role, Saying};
use crate::adapter::fault::Fault;

/// Every field of OpenAI's, and ours.
pub(super) const RULES: &Rules = &[
    ("model", Rule::Mapped),
    ("prompt", Rule::Mapped),
    ("stream", Rule::Mapped),
    ("stream_options", Rule::Mapped),
    ("stop", Rule::Mapped),
    ("user", Rule::Mapped),
    ("safety_identifier", Rule::Mapped),
    ("inputs", Rule::Mapped),
    ("n", Rule::Refused(pass::one, "An app gives one answer: leave out `n`, or set it to 1.")),
    ("best_of", Rule::Refused(pass::one, "An app gives one answer: leave out `best_of`.")),
    ("echo", Rule::Refused(pass::off, "The answer does not repeat the prompt: leave out `echo`.")),
    ("suffix", Rule::Refused(pass::empty, "An app cannot fill a gap: leave out `suffix`.")),
    ("logprobs", Rule::Refused(pass::off, "Dify does not tell probabilities: leave it out.")),
    ("max_tokens", Rule::Ignored),
    ("temperature", Rule::Ignored),
    ("top_p", Rule::Ignored),
    ("seed", Rule::Ignored),
    ("frequency_penalty", Rule::Ignored),
    ("presence_penalty", Rule::Ignored),
    ("logit_bias", Rule::Ignored),
    ("metadata", Rule::Ignored),
    ("conversation", Rule::Ignored),
    ("conversation_id", Rule::Ignored),
];

/// Reads a request.
///
/// Errors are 400, with the place of what is wrong as `param`.
pub fn read(body: &[u8]) -> Result<(Ask, CompletionsVoice), Fault> {
    let mut ask = Ask::default();
    let mut fields = Fields::read(body, RULES, &mut ask)?;
    ask.model = fields.model()?;
    ask.question = Saying::new(Role::User, prompt(fields.take("prompt"))?);
    let with_usage = fields.streaming(&mut ask)?;
    ask.stop = fields.stop()?;
    ask.user = fields.user(None)?;
    ask.inputs = fields.map("inputs")?;
    Ok((ask, CompletionsVoice::new(with_usage)))
}

/// A text, or a list of one.
fn prompt(value: Option<Value>) -> Result<String, Fault> {
    let text = match value {
        None => return Err(missing("prompt", "write a text")),
        Some(Value::String(text)) => text,
        Some(Value::Array(list)) => match <[Value; 1]>::try_from(list) {
            Ok([Value::String(text)]) => text,
            Ok(_) => return Err(unsupported("tokens")),
            Err(list) if list.iter().all(Value::is_string) => {
                return Err(unsupported("several prompts"));
            }
            Err(_) => return Err(unsupported("tokens")),
        },
        Some(_) => return Err(wrong_type("prompt", "a string")),
    };
    if text.trim().is_empty() {
        return Err(wrong_value("prompt", "must not be empty"));
    }
    Ok(text)
}

fn unsupported(what: &str) -> Fault {
    Fault::unsupported("prompt", format!("An app takes one text and not {what}: send a string."))
}
