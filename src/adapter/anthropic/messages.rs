//! `POST /v1/messages`: the request.
//!
//! `docs/anthropic.md` has the table of all fields. What an app of Dify decides itself (sampling,
//! length, tools it may leave alone) is ignored and named; what would change the meaning of the
//! answer is refused.

use bytes::Bytes;
use serde_json::{Value, json};

use super::content;
use super::encoder::MessagesEncoder;
use crate::adapter::completion_request::{CompletionRequest, Role};
use crate::adapter::extensions;
use crate::adapter::json_object::{self, JsonObject, Part, items};
use crate::adapter::transcript;
use crate::model::GatewayError;

/// The most texts in `stop_sequences`.
const MAX_STOPS: usize = 64;

/// Reads a request; the encoder is for its response.
pub fn read(body: impl AsRef<[u8]>) -> Result<(CompletionRequest, MessagesEncoder), GatewayError> {
    let mut body = JsonObject::of_body(body.as_ref())?;
    let mut request =
        CompletionRequest { model: body.need_text("model")?, ..CompletionRequest::default() };
    needs_length(&mut body, &mut request)?;
    finish(body, request)
}

/// All but the model and the length.
fn finish(
    mut body: JsonObject<'_>,
    mut request: CompletionRequest,
) -> Result<(CompletionRequest, MessagesEncoder), GatewayError> {
    system(&mut body, &mut request)?;
    messages(&mut body, &mut request)?;
    request.streamed = body.flag("stream")?;
    request.stop = stops(&mut body)?;
    let mut metadata = body.fields("metadata")?;
    extensions::take(&mut body, &mut metadata, &mut request)?;
    metadata.leave(&mut request.ignored);
    tools(&mut body, &mut request)?;
    output(&mut body, &mut request)?;
    let thinks = thinking(&mut body, &mut request)?;
    body.leave(&mut request.ignored);
    let encoder = MessagesEncoder::new(thinks, request.stop.clone());
    Ok((request, encoder))
}

/// `POST /v1/messages/count_tokens`: the model, and how many tokens its messages have by an estimate.
/// Dify counts only what it has run, and each model in its own way.
pub fn count_tokens(body: impl AsRef<[u8]>) -> Result<(String, u64), GatewayError> {
    let mut body = JsonObject::of_body(body.as_ref())?;
    let request =
        CompletionRequest { model: body.need_text("model")?, ..CompletionRequest::default() };
    // It is all of a request but its length.
    let (request, _) = finish(body, request)?;
    let said = request.before.iter().chain([&request.question]);
    let of_sayings: u64 = said
        .map(|message| {
            tokens(&message.text) + PER_MESSAGE + PER_FILE * message.attachments.len() as u64
        })
        .sum();
    Ok((request.model, of_sayings + request.system.as_deref().map_or(0, tokens)))
}

/// What an estimate is sent as: it says that it is one.
pub fn counted(tokens: u64) -> Bytes {
    let answer = json!({"input_tokens": tokens, "x_dify": {"usage_source": "estimate"}});
    Bytes::from(answer.to_string())
}

/// What a message costs beside its text, in tokens.
const PER_MESSAGE: u64 = 4;
/// About what a picture costs.
const PER_FILE: u64 = 1500;

/// Four letters of ASCII, or one of any other script.
fn tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    let others = text.chars().filter(|letter| !letter.is_ascii()).count() as u64;
    ascii.div_ceil(4) + others
}

/// The protocol wants `max_tokens`; an app of Dify has its own.
fn needs_length(
    body: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<(), GatewayError> {
    let length = body.need("max_tokens")?;
    if length.as_u64().is_none_or(|length| length == 0) {
        return Err(json_object::wrong_value("max_tokens", "must be a whole number of at least 1"));
    }
    request.ignored.push("max_tokens".to_owned());
    Ok(())
}

fn system(body: &mut JsonObject<'_>, request: &mut CompletionRequest) -> Result<(), GatewayError> {
    match body.part("system") {
        None => {}
        Some(Part::Text(text)) => transcript::add_system(&mut request.system, &text),
        Some(Part::List(blocks)) => {
            for (at, block) in items(blocks).enumerate() {
                let mut block = JsonObject::of_text(format!("system[{at}]"), block)?;
                if block.need_text("type")? != "text" {
                    return Err(json_object::wrong_value(&block.place("type"), "must be text"));
                }
                transcript::add_system(&mut request.system, &block.need_text("text")?);
            }
        }
        Some(_) => {
            return Err(json_object::wrong_type("system", "a string or a list of text blocks"));
        }
    }
    Ok(())
}

fn messages(
    body: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<(), GatewayError> {
    let Part::List(messages) = body.need_part("messages")? else {
        return Err(json_object::wrong_type("messages", "a list"));
    };
    let messages = items(messages);
    let mut said = Vec::with_capacity(messages.clone().count());
    let mut last = String::new();
    for (at, message) in messages.enumerate() {
        let mut message = JsonObject::of_text(format!("messages[{at}]"), message)?;
        let role = match message.need_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => {
                let why = "must be user or assistant; system texts belong into `system`";
                return Err(json_object::wrong_value(&message.place("role"), why));
            }
        };
        let place = message.place("content");
        for message in
            content::messages(role, &place, message.need_part("content")?, &mut request.ignored)?
        {
            transcript::add(&mut said, message);
        }
        last = format!("messages[{at}]");
    }
    (request.before, request.question) = transcript::split(said, "messages", &last)?;
    Ok(())
}

fn stops(body: &mut JsonObject<'_>) -> Result<Vec<String>, GatewayError> {
    let list = body.list("stop_sequences")?;
    if list.len() > MAX_STOPS {
        let why = format!("has more than {MAX_STOPS} texts");
        return Err(json_object::wrong_value("stop_sequences", why));
    }
    let texts = list.into_iter().enumerate().map(|(at, value)| match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text),
        _ => {
            let place = format!("stop_sequences[{at}]");
            Err(json_object::wrong_value(&place, "must be a string that is not blank"))
        }
    });
    texts.collect()
}

/// Tools that the model may leave alone are left alone; those that it must use are refused.
fn tools(body: &mut JsonObject<'_>, request: &mut CompletionRequest) -> Result<(), GatewayError> {
    let choice = match body.part("tool_choice") {
        None => None,
        Some(Part::Object(choice)) => {
            Some(JsonObject::of_text("tool_choice", choice)?.need_text("type")?)
        }
        Some(_) => return Err(json_object::wrong_type("tool_choice", "an object")),
    };
    match choice.as_deref() {
        None | Some("auto" | "none") => {}
        Some("any" | "tool") => {
            let why = "must be auto or none: an app of Dify uses its own tools only";
            return Err(json_object::unsupported("tool_choice", why));
        }
        Some(_) => {
            return Err(json_object::wrong_value("tool_choice.type", "must be auto or none"));
        }
    }
    for (at, tool) in body.items("tools")?.enumerate() {
        if at == 0 && choice.as_deref() != Some("none") {
            request.ignored.push("tools".to_owned());
        }
        let mut tool = JsonObject::of_text(format!("tools[{at}]"), tool)?;
        let kind = tool.text("type")?.unwrap_or_default();
        if ["web_search_", "web_fetch_", "code_execution_"].iter().any(|k| kind.starts_with(k)) {
            let why = "is a tool that runs on Anthropic's servers; give the app of Dify one";
            return Err(json_object::unsupported(&tool.place("type"), why));
        }
    }
    if choice.is_some_and(|choice| choice == "auto") {
        request.ignored.push("tool_choice".to_owned());
    }
    Ok(())
}

/// What would change the form or the sources of the answer.
fn output(body: &mut JsonObject<'_>, request: &mut CompletionRequest) -> Result<(), GatewayError> {
    let mut config = body.fields("output_config")?;
    if config.take("format").is_some() {
        let why = "is not served: an app of Dify writes as it is built";
        return Err(json_object::unsupported("output_config.format", why));
    }
    config.leave(&mut request.ignored);
    for (field, why) in [
        ("output_format", "is not served: an app of Dify writes as it is built"),
        ("container", "is not served: give the app of Dify a tool that runs code"),
    ] {
        if body.take(field).is_some() {
            return Err(json_object::unsupported(field, why));
        }
    }
    if body.items("mcp_servers")?.next().is_some() {
        let why = "are not served: give the app of Dify these tools";
        return Err(json_object::unsupported("mcp_servers", why));
    }
    Ok(())
}

/// Whether the client wants to see what the app thinks. How much it thinks, the app decides.
fn thinking(
    body: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<bool, GatewayError> {
    let mut thinking = match body.part("thinking") {
        None => return Ok(false),
        Some(Part::Object(thinking)) => JsonObject::of_text("thinking", thinking)?,
        Some(_) => return Err(json_object::wrong_type("thinking", "an object")),
    };
    let thinks = match thinking.need_text("type")?.as_str() {
        "disabled" => false,
        "enabled" | "adaptive" => true,
        _ => {
            let why = "must be enabled, adaptive or disabled";
            return Err(json_object::wrong_value("thinking.type", why));
        }
    };
    let hidden = thinking.text("display")?.is_some_and(|display| display == "omitted");
    thinking.leave(&mut request.ignored);
    Ok(thinks && !hidden)
}
