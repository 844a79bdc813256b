//! A run that is wanted: the checks that need the data, made by the API or, for streamed flows of
//! later releases, by the worker.

use super::Call;
use crate::app::{Field, FieldKind, Flow, Mode};
use crate::db::{Attached, EndUser};
use crate::pyjson;
use crate::run::files;
use crate::run::turn::Ask;
use crate::state::{AppState, Shared};
use crate::wire::answer::{Answer, Refused};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// What pydantic says about an app without a model.
const NO_MODEL: &str = "2 validation errors for ModelConfigEntity\nprovider\n  Input should be a \
    valid string [type=string_type, input_value=None, input_type=NoneType]\n    For further \
    information visit https://errors.pydantic.dev/2.11/v/string_type\nmodel\n  Input should be a \
    valid string [type=string_type, input_value=None, input_type=NoneType]\n    For further \
    information visit https://errors.pydantic.dev/2.11/v/string_type";

/// A request for a run that has passed the checks of its form.
pub(super) struct Wanted {
    pub(super) shared: Arc<Shared>,
    pub(super) app: Arc<AppState>,
    user: String,
    end_user: EndUser,
    json: Value,
    /// What a chat app is asked.
    pub(super) query: String,
    /// The conversation it is to go on with.
    pub(super) conversation: Option<Uuid>,
    pub(super) streamed: bool,
}

impl Wanted {
    pub(super) fn new(call: &Call<'_>, streamed: bool) -> Self {
        Self {
            shared: Arc::clone(call.shared),
            app: Arc::clone(&call.app),
            user: call.user.clone(),
            end_user: call.end_user,
            json: call.json.clone(),
            query: String::new(),
            conversation: None,
            streamed,
        }
    }

    /// What is asked for, if all that it names is there.
    pub(super) fn ask(self) -> Result<Ask, Refused> {
        let mode = self.app.app.mode;
        let conversation = self.known_conversation()?;
        self.modelled()?;
        let mut files = self.files(self.json.get("files"))?;
        let inputs = self.json.get("inputs").unwrap_or(&Value::Null);
        if mode == Mode::Workflow {
            for field in self.fields().iter().filter(|field| field.is_file()) {
                match inputs.get(&field.name) {
                    Some(list @ Value::Array(_)) => files.extend(self.files(Some(list))?),
                    Some(file @ Value::Object(_)) => {
                        files.extend(self.files(Some(&json!([file])))?);
                    }
                    _ => {}
                }
            }
        }
        let form = self.form(inputs)?;
        let query = match mode {
            Mode::Completion => {
                let lines = if self.shared.setup.release.is_restx() { "\n\n" } else { "\n" };
                form.get("query").map(pyjson::str_of).unwrap_or_default() + lines
            }
            _ => self.query,
        };
        let named = self.json.get("auto_generate_name") != Some(&Value::Bool(false));
        Ok(Ask {
            user: self.user,
            end_user: self.end_user,
            query,
            sent_inputs: inputs.clone(),
            inputs: form,
            files,
            conversation,
            auto_generate_name: mode.has_conversations() && named,
            streamed: self.streamed,
        })
    }

    fn known_conversation(&self) -> Result<Option<Uuid>, Refused> {
        let Some(id) = self.conversation else { return Ok(None) };
        if self.shared.db().conversation(id, self.app.id, &self.user).is_some() {
            return Ok(Some(id));
        }
        let release = self.shared.setup.release;
        if self.app.app.mode == Mode::AdvancedChat && release.begins_conversations_anew() {
            return Ok(None);
        }
        Err(Box::new(Answer::not_found("Conversation Not Exists.")))
    }

    fn modelled(&self) -> Result<(), Refused> {
        let in_vain = self.app.app.flow == Flow::NoModel && !self.app.app.mode.is_flow();
        if in_vain && !self.shared.setup.release.is_restx() {
            return Err(Box::new(Answer::invalid(NO_MODEL)));
        }
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        self.app.app.fields(self.shared.setup.release)
    }

    /// What of the inputs belongs to the form.
    fn form(&self, inputs: &Value) -> Result<Value, Refused> {
        let mut form = Map::new();
        for field in self.fields() {
            let value = inputs.get(&field.name).filter(|value| !pyjson::is_falsy(value));
            let Some(value) = value else {
                if field.required {
                    let message = format!("{} is required in input form", field.name);
                    return Err(Box::new(Answer::invalid(&message)));
                }
                form.insert(field.name, Value::Null);
                continue;
            };
            if let Some(rule) = broken_rule(&field, value) {
                let message = format!("{} in input form must be {rule}", field.name);
                return Err(Box::new(Answer::invalid(&message)));
            }
            form.insert(field.name, value.clone());
        }
        Ok(Value::Object(form))
    }

    /// The files a request names. Uploads need only be of this Dify, in later releases of this
    /// user and app; there an app that takes no files looks at none.
    fn files(&self, list: Option<&Value>) -> Result<Vec<Attached>, Refused> {
        let app = &self.app.app;
        if self.shared.setup.release.is_restx() && !app.mode.is_flow() && app.uploads.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for file in list.and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| file.get(name).map(pyjson::str_of).unwrap_or_default();
            match text("transfer_method").as_str() {
                "local_file" => found.push(self.upload(&text("upload_file_id"), &text("type"))?),
                "remote_url" => {
                    found.push(Attached::Remote { kind: text("type"), url: text("url") });
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn upload(&self, id: &str, asked: &str) -> Result<Attached, Refused> {
        let Ok(id) = Uuid::parse_str(id) else {
            return Err(Box::new(Answer::invalid("Invalid upload file id format")));
        };
        let db = self.shared.db();
        let bound = self.shared.setup.release.binds_files();
        let file = db
            .files
            .get(id)
            .filter(|file| !bound || file.app == self.app.id && file.user == self.user);
        let Some(file) = file else {
            return Err(Box::new(Answer::invalid("Invalid upload file")));
        };
        if !matches!(asked, "" | "custom") && asked != files::kind(&file.extension) {
            let message = "Detected file type does not match the specified type. Please verify \
                the file.";
            return Err(Box::new(Answer::invalid(message)));
        }
        Ok(Attached::Upload(id))
    }
}

/// What a value of a form must be, if it is not.
fn broken_rule(field: &Field, value: &Value) -> Option<String> {
    match (&field.kind, value) {
        (FieldKind::Select(options), value) => {
            let known = value.as_str().is_some_and(|text| options.iter().any(|one| one == text));
            (!known).then(|| format!("one of the following: {options:?}"))
        }
        (FieldKind::Number, Value::Number(_)) => None,
        (FieldKind::Number, value) => {
            let number = value.as_str().is_some_and(|text| text.trim().parse::<f64>().is_ok());
            (!number).then(|| "a valid number".to_owned())
        }
        (_, Value::String(text)) => {
            let most = field.max_length.filter(|most| text.chars().count() > *most)?;
            Some(format!("less than {most} characters"))
        }
        _ => None,
    }
}
