//! Parameters as flask-restful's parser reads them, and the errors it gives.

use super::Call;
use crate::pyjson;
use crate::wire::answer::{Answer, Refused};
use serde_json::Value;
use uuid::Uuid;

/// A UUID or nothing; `""` and null are nothing.
pub(super) fn uuid(value: Option<&Value>, name: &str) -> Result<Option<Uuid>, Refused> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(other) => uuid_text(&pyjson::str_of(other), name).map(Some),
    }
}

/// A UUID in text.
pub(super) fn uuid_text(text: &str, name: &str) -> Result<Uuid, Refused> {
    Uuid::parse_str(text)
        .map_err(|_| Box::new(Answer::parameter(&format!("{text} is not a valid uuid."), name)))
}

/// One of the words, or nothing.
pub(super) fn choice(
    value: Option<&Value>,
    name: &str,
    choices: &[&str],
) -> Result<Option<String>, Refused> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(other) => {
            let text = pyjson::str_of(other);
            if choices.contains(&text.as_str()) {
                Ok(Some(text))
            } else {
                let message = format!("{text} is not a valid choice");
                Err(Box::new(Answer::parameter(&message, name)))
            }
        }
    }
}

/// A parameter of the JSON body that must be there.
pub(super) fn required<'v>(json: &'v Value, name: &str) -> Result<&'v Value, Refused> {
    json.get(name).ok_or_else(|| {
        Box::new(Answer::parameter("Missing required parameter in the JSON body", name))
    })
}

/// `limit` of a list: 1 to 100, or what the route takes without it.
pub(super) fn limit(call: &Call<'_>) -> Result<usize, Refused> {
    number(call, "limit", 20, 100)
}

/// A number of the query from 1 to `most`.
pub(super) fn number(
    call: &Call<'_>,
    name: &str,
    default: usize,
    most: usize,
) -> Result<usize, Refused> {
    let Some(text) = call.head.query(name) else { return Ok(default) };
    let Ok(number) = text.parse::<i64>() else {
        let message = format!("{text} is not a valid integer");
        return Err(Box::new(Answer::parameter(&message, name)));
    };
    match usize::try_from(number) {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => {
            let message =
                format!("Invalid argument: {number}. argument must be within the range 1 - {most}");
            Err(Box::new(Answer::parameter(&message, name)))
        }
    }
}

/// Whether a run is to be streamed; absent is blocking.
pub(super) fn is_streaming(json: &Value) -> Result<bool, Refused> {
    let choices = ["blocking", "streaming"];
    let mode = choice(json.get("response_mode"), "response_mode", &choices)?;
    Ok(mode.as_deref() == Some("streaming"))
}
