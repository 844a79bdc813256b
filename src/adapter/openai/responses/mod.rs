//! `POST /v1/responses`.
//!
//! `docs/openai-responses.md` has the table of all fields. Nothing of an answer is kept here: its id
//! is that of Dify's message, by which a `previous_response_id` finds the conversation again.

mod encoder;
mod items;
mod response_object;

#[cfg(test)]
mod tests;

use serde_json::Value;
use uuid::Uuid;

pub use self::encoder::ResponsesEncoder;
use self::response_object::{Echo, RESPONSE};
use crate::adapter::completion_request::CompletionRequest;
use crate::adapter::extensions;
use crate::adapter::json_object::{self, JsonObject, Part};
use crate::adapter::transcript;
use crate::model::GatewayError;

/// The most characters of an unknown id that an error repeats.
const MAX_TOLD_ID: usize = 64;

/// Reads a request; the encoder is for its response.
pub fn read(body: impl AsRef<[u8]>) -> Result<(CompletionRequest, ResponsesEncoder), GatewayError> {
    let mut body = JsonObject::of_body(body.as_ref())?;
    let mut request =
        CompletionRequest { model: model(&mut body)?, ..CompletionRequest::default() };
    let instructions = body.text("instructions")?;
    transcript::add_system(&mut request.system, instructions.as_deref().unwrap_or(""));
    items::read(body.need_part("input")?, &mut request)?;
    request.streamed = body.flag("stream")?;
    request.is_unstored = !body.take("store").map_or(Ok(true), |store| is_true("store", &store))?;
    // All of it is given back with the answer, so nothing of it is ignored.
    let metadata = body.object_text("metadata")?;
    let mut known = JsonObject::of_object("metadata", metadata.text());
    extensions::take(&mut body, &mut known, &mut request)?;
    continues(&mut body, &mut request)?;
    tools(&mut body, &mut request)?;
    refuse(&mut body, &mut request)?;
    body.leave(&mut request.ignored);
    let echo = Echo {
        instructions,
        metadata,
        previous_response: request.hints.previous_response.clone(),
        user: request.user.clone(),
        is_stored: !request.is_unstored,
    };
    Ok((request, ResponsesEncoder::new(echo)))
}

/// Dify's message that a response of ours was.
pub fn message_of(response_id: &str) -> Option<Uuid> {
    let hex = response_id.strip_prefix(RESPONSE)?;
    let is_ours = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_ours { Uuid::try_parse(hex).ok() } else { None }
}

/// The client goes on from a response that it does not have here.
pub fn unknown_previous(response_id: &str) -> GatewayError {
    let is_plain = response_id.len() <= MAX_TOLD_ID
        && response_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let named = if is_plain { format!(" `{response_id}`") } else { String::new() };
    let message = format!(
        "the previous response{named} is not known here: send the whole transcript as `input`"
    );
    GatewayError::invalid("previous_response_not_found", "previous_response_id", message)
}

fn model(body: &mut JsonObject<'_>) -> Result<String, GatewayError> {
    let model = body.need_text("model")?;
    if model.is_empty() { Err(json_object::missing("model")) } else { Ok(model) }
}

fn is_true(place: &str, value: &Value) -> Result<bool, GatewayError> {
    value.as_bool().ok_or_else(|| json_object::wrong_type(place, "a boolean"))
}

/// `previous_response_id`, which says another thing than `conversation`.
fn continues(
    body: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<(), GatewayError> {
    let previous = body.text("previous_response_id")?.filter(|id| !id.is_empty());
    if previous.is_some() && request.hints.conversation.is_some() {
        return Err(GatewayError::invalid(
            "mutually_exclusive_parameters",
            "previous_response_id",
            "`previous_response_id` and `conversation` are mutually exclusive: leave one out",
        ));
    }
    request.hints.previous_response = previous;
    Ok(())
}

/// Tools of the client that the model may leave alone are left alone. Those that it must call, and
/// those that OpenAI runs, are refused.
fn tools(body: &mut JsonObject<'_>, request: &mut CompletionRequest) -> Result<(), GatewayError> {
    let choice = body.part("tool_choice");
    let is_chosen = choice.is_some();
    let mode = match choice {
        None => Some("auto".to_owned()),
        Some(Part::Text(mode)) => Some(mode),
        Some(Part::Object(choice)) => {
            let mut choice = JsonObject::of_text("tool_choice", choice)?;
            let allows = choice.take("type").is_some_and(|kind| kind == "allowed_tools");
            choice.text("mode").ok().flatten().filter(|_| allows)
        }
        Some(_) => None,
    };
    let is_off = match mode.as_deref() {
        Some("none") => true,
        Some("auto") => false,
        _ => {
            let why = "must be auto or none: an app of Dify uses its own tools only";
            return Err(json_object::unsupported("tool_choice", why));
        }
    };
    for (at, tool) in body.items("tools")?.enumerate() {
        if at == 0 && !is_off {
            request.ignored.push("tools".to_owned());
        }
        let mut tool = JsonObject::of_text(format!("tools[{at}]"), tool)?;
        if !matches!(tool.need_text("type")?.as_str(), "function" | "custom" | "namespace") {
            let why = "must be function or custom: give the app of Dify such a tool";
            return Err(json_object::unsupported(&tool.place("type"), why));
        }
    }
    if is_chosen && !is_off {
        request.ignored.push("tool_choice".to_owned());
    }
    Ok(())
}

/// What would change the form of the answer, or how it is fetched.
fn refuse(body: &mut JsonObject<'_>, request: &mut CompletionRequest) -> Result<(), GatewayError> {
    if body.flag("background")? {
        let why = "must be false: answers are not kept, so they cannot be fetched later";
        return Err(json_object::unsupported("background", why));
    }
    if body.take("prompt").is_some() {
        let why = "is not served, for prompts are kept at OpenAI: the app of Dify has its own";
        return Err(json_object::unsupported("prompt", why));
    }
    if body.take("top_logprobs").is_some_and(|top| top.as_f64() != Some(0.0)) {
        let why = "must be 0: Dify does not report log probabilities";
        return Err(json_object::unsupported("top_logprobs", why));
    }
    let include = body.list("include")?;
    if include.iter().any(|what| what == "message.output_text.logprobs") {
        let why =
            "cannot name message.output_text.logprobs: Dify does not report log probabilities";
        return Err(json_object::unsupported("include", why));
    }
    if !include.is_empty() {
        request.ignored.push("include".to_owned());
    }
    let mut text = body.fields("text")?;
    let is_text = match text.part("format") {
        None => true,
        Some(Part::Object(format)) => {
            let kind = JsonObject::of_text("text.format", format)?.take("type");
            kind.is_some_and(|kind| kind == "text")
        }
        Some(_) => false,
    };
    if !is_text {
        let why = "must be of type text: an app of Dify writes as it is built";
        return Err(json_object::unsupported("text.format", why));
    }
    text.leave(&mut request.ignored);
    // Nothing is obfuscated here.
    let mut options = body.fields("stream_options")?;
    if options.flag("include_obfuscation")? {
        request.ignored.push("stream_options.include_obfuscation".to_owned());
    }
    options.leave(&mut request.ignored);
    Ok(())
}
