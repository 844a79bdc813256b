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
