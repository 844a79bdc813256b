//! Fields that several of OpenAI's endpoints share.

use serde_json::Value;

use crate::adapter::completion_request::CompletionRequest;
use crate::adapter::json_object::{self, JsonObject};
use crate::model::GatewayError;

/// The most texts of `stop`.
const MAX_STOP: usize = 4;

/// A field that no app can serve: its name, which values change nothing and so pass, and why the
/// others are refused.
pub(super) type RefusedField = (&'static str, fn(&Value) -> bool, &'static str);

/// Refuses the first field of a table that has a value which does not pass.
pub(super) fn refuse(
    body: &mut JsonObject<'_>,
    table: &[RefusedField],
) -> Result<(), GatewayError> {
    for (name, passes, why) in table {
        if body.take(name).is_some_and(|value| !passes(&value)) {
            return Err(GatewayError::unsupported(name, *why));
        }
    }
    Ok(())
}

/// `model`, which must not be empty.
pub(super) fn model(body: &mut JsonObject<'_>) -> Result<String, GatewayError> {
    let model = body.need_text("model")?;
    match model.is_empty() {
        true => Err(json_object::wrong_value("model", "must be one that GET /v1/models lists")),
        false => Ok(model),
    }
}

/// `stream` and `stream_options`. Gives whether a stream ends with the usage.
pub(super) fn streaming(
    body: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<bool, GatewayError> {
    request.streamed = body.flag("stream")?;
    let mut options = body.fields("stream_options")?;
    let with_usage = options.flag("include_usage")?;
    // It makes chunks equally long: none of ours are, as if it were false.
    if options.flag("include_obfuscation")? {
        request.ignored.push(options.place("include_obfuscation"));
    }
    options.leave(&mut request.ignored);
    Ok(with_usage)
}

/// `stop`: a text or up to four. Empty ones never come.
pub(super) fn stop(body: &mut JsonObject<'_>) -> Result<Vec<String>, GatewayError> {
    let texts = match body.take("stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => {
            let texts = list.into_iter().enumerate().map(|(at, value)| match value {
                Value::String(text) => Ok(text),
                _ => Err(json_object::wrong_type(&format!("stop[{at}]"), "a string")),
            });
            texts.collect::<Result<_, _>>()?
        }
        Some(_) => return Err(json_object::wrong_type("stop", "a string or a list of strings")),
    };
    if texts.len() > MAX_STOP {
        let message = format!("`stop` may hold at most {MAX_STOP} texts.");
        return Err(GatewayError::invalid("array_above_max_length", "stop", message));
    }
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

/// Notes once that a part of a message was ignored.
pub(super) fn ignore(request: &mut CompletionRequest, place: &str) {
    if !request.ignored.iter().any(|known| known == place) {
        request.ignored.push(place.to_owned());
    }
}
