//! What an instance says of an app: `GET /v1/info` and `GET /v1/parameters`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::mode::Mode;

/// What a request must know of its app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppInfo {
    /// The kind of app.
    pub mode: Mode,
    /// The inputs that it asks for.
    pub form: InputForm,
}

/// The inputs that an app asks for, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputForm {
    inputs: Vec<Input>,
}

/// One input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its variable.
    pub name: String,
    /// Dify's word: `text-input`, `paragraph`, `select`, `number`, `file`, `file-list`.
    pub kind: String,
    /// Whether a run needs it.
    pub required: bool,
}

impl InputForm {
    /// The inputs that take text.
    pub fn texts(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter().filter(|input| matches!(input.kind.as_str(), "text-input" | "paragraph"))
    }

    /// Whether there is an input of this name that takes text.
    pub fn is_text(&self, name: &str) -> bool {
        self.texts().any(|input| input.name == name)
    }

    /// The first input of this kind.
    pub fn of_kind(&self, kind: &str) -> Option<String> {
        Some(self.inputs.iter().find(|input| input.kind == kind)?.name.clone())
    }
}

#[derive(Deserialize)]
struct Info {
    mode: String,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    user_input_form: Vec<Map<String, Value>>,
}

/// What an app is called, by the body of `GET /v1/info`, in one line.
///
/// # Errors
/// It is not what Dify says, or the app has no name; the text says what.
pub fn name(info: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        name: String,
    }
    let Named { name } = serde_json::from_slice(info)
        .map_err(|error| format!("/v1/info is not what Dify says: {error}"))?;
    let words = name.split(|c: char| c.is_control() || c.is_whitespace());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    // Dify's own limit is less.
    let name: String = words.join(" ").chars().take(255).collect();
    if name.is_empty() { Err("the app has no name in Dify".to_owned()) } else { Ok(name) }
}

impl AppInfo {
    /// Reads the bodies of both answers.
    ///
    /// # Errors
    /// One of them is not what Dify 1.0 or later says; the text says what.
    pub fn read(info: &[u8], parameters: &[u8]) -> Result<Self, String> {
        let info: Info =
            serde_json::from_slice(info).map_err(|error| format!("/v1/info: {error}"))?;
        let mode = Mode::named(&info.mode)
            .ok_or_else(|| format!("/v1/info: unknown mode `{}`", info.mode))?;
        let parameters: Parameters = serde_json::from_slice(parameters)
            .map_err(|error| format!("/v1/parameters: {error}"))?;
        let inputs = parameters.user_input_form.iter().flatten();
        let inputs = inputs.filter_map(|(kind, input)| {
            Some(Input {
                name: input.get("variable")?.as_str()?.to_owned(),
                kind: kind.clone(),
                required: input.get("required").and_then(Value::as_bool).unwrap_or(false),
            })
        });
        Ok(Self { mode, form: InputForm { inputs: inputs.collect() } })
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn an_apps_name_is_one_line() {
        for (info, expected) in [
            (r#"{"name": "Help desk", "mode": "chat"}"#, Ok("Help desk")),
            (r#"{"name": " 客服\n\u0000 助手 "}"#, Ok("客服 助手")),
            (r#"{"name": "  "}"#, Err("the app has no name in Dify")),
            (r#"{"mode": "chat"}"#, Err("the app has no name in Dify")),
        ] {
            let found = name(info.as_bytes());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{info}");
        }
        assert!(name(b"<html>").unwrap_err().starts_with("/v1/info is not what Dify says"));
        let long = format!("{{\"name\": \"{}\"}}", "长".repeat(300));
        assert_eq!(name(long.as_bytes()).unwrap().chars().count(), 255);
    }
}
