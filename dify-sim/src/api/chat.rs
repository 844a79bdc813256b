//! `chat-messages`, `completion-messages`, and stopping them.

use super::arguments::{choice, is_streaming, required, uuid};
use super::{Call, Reply};
use crate::app::{Field, FieldKind, Flow, Mode};
use crate::pyjson;
use crate::run::files::{self, Attached};
use crate::run::{self, turn::Ask, turn::Turn};
use crate::setup::Fault;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// What pydantic says about an app without a model.
const NO_MODEL: &str = "2 validation errors for ModelConfigEntity\nprovider\n  Input should be a \
    valid string [type=string_type, input_value=None, input_type=NoneType]\n    For further \
    information visit https://errors.pydantic.dev/2.11/v/string_type\nmodel\n  Input should be a \
    valid string [type=string_type, input_value=None, input_type=NoneType]\n    For further \
    information visit https://errors.pydantic.dev/2.11/v/string_type";

pub(super) async fn chat(call: Call<'_>) -> Result<Reply, Refused> {
    let mode = call.app.app.mode;
    if !mode.has_conversations() {
        return Err(Box::new(Answer::wrong_mode("not_chat_app")));
    }
    let inputs = required(&call.json, "inputs")?;
    let query = pyjson::str_of(required(&call.json, "query")?);
    let streaming = is_streaming(&call.json)?;
    let conversation = uuid(call.json.get("conversation_id"), "conversation_id")?;
    choice(call.json.get("retriever_from"), "retriever_from", &["dev"]).ok();
    let active = Active::take(&call)?;
    published(&call)?;
    if mode.is_agent() && !streaming {
        let message = "Agent Chat App does not support blocking mode";
        return Err(Box::new(match mode {
            Mode::Agent => Answer::error(400, "bad_request", message),
            _ => Answer::invalid(message),
        }));
    }
    if query.is_empty() || call.json["query"].is_null() {
        return Err(Box::new(Answer::invalid("query is required")));
    }
    if let Some(id) = conversation
        && call.shared.db().conversation(id, call.app.id, &call.user).is_none()
    {
        return Err(Box::new(Answer::not_found("Conversation Not Exists.")));
    }
    modelled(&call)?;
    let files = files(&call, call.json.get("files"))?;
    let ask = Ask {
        user: call.user.clone(),
        query,
        inputs: form(&call, inputs)?,
        sent_inputs: inputs.clone(),
        files,
        conversation,
        auto_generate_name: call.json.get("auto_generate_name") != Some(&Value::Bool(false)),
        streamed: streaming,
    };
    Ok(begin(&call, active, ask).await)
}

pub(super) async fn completion(call: Call<'_>) -> Result<Reply, Refused> {
    if call.app.app.mode != Mode::Completion {
        return Err(Box::new(unavailable()));
    }
    let inputs = required(&call.json, "inputs")?;
    let streaming = is_streaming(&call.json)?;
    let active = Active::take(&call)?;
    modelled(&call)?;
    let files = files(&call, call.json.get("files"))?;
    let sent_inputs = inputs.clone();
    let inputs = form(&call, inputs)?;
    let query = inputs.get("query").map(pyjson::str_of).unwrap_or_default() + "\n";
    let ask = Ask {
        user: call.user.clone(),
        query,
        inputs,
        sent_inputs,
        files,
        conversation: None,
        auto_generate_name: false,
        streamed: streaming,
    };
    Ok(begin(&call, active, ask).await)
}

fn unavailable() -> Answer {
    let message = "App unavailable, please check your app configurations.";
    Answer::error(400, "app_unavailable", message)
}

/// Starts the run, and for a blocking request plays it to its end.
pub(super) async fn begin(call: &Call<'_>, active: Active, ask: Ask) -> Reply {
    let streaming = ask.streamed;
    let turn = Box::new(Turn::begin(call.shared, &call.app, ask));
    active.hand_over();
    if streaming {
        return Reply::Stream(turn);
    }
    Reply::Answer(run::blocking(&turn).await)
}

/// A place among the runs of the app; given back unless a run takes it over.
pub(super) struct Active(Option<Arc<crate::state::AppState>>);

impl Active {
    pub(super) fn take(call: &Call<'_>) -> Result<Self, Refused> {
        if call.shared.condition.borrow().fault == Fault::RedisDown {
            return Err(Box::new(Answer::error(
                500,
                "internal_server_error",
                "The server encountered an internal error and was unable to complete your \
                 request. Either the server is overloaded or there is an error in the \
                 application.",
            )));
        }
        let before = call.app.active.fetch_add(1, Ordering::Relaxed);
        let place = Self(Some(Arc::clone(&call.app)));
        match call.app.app.max_active_requests {
            Some(most) if before >= most => Err(Box::new(Answer::invalid(&format!(
                "Too many requests. Please try again later. The current maximum concurrent \
                 requests allowed for {} is {most}.",
                call.app.id
            )))),
            _ => Ok(place),
        }
    }

    fn hand_over(mut self) {
        self.0 = None;
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if let Some(app) = &self.0 {
            app.active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

pub(super) fn published(call: &Call<'_>) -> Result<(), Refused> {
    if call.app.app.flow == Flow::Unpublished {
        return Err(Box::new(Answer::invalid("Workflow not published")));
    }
    Ok(())
}

fn modelled(call: &Call<'_>) -> Result<(), Refused> {
    if call.app.app.flow == Flow::NoModel {
        return Err(Box::new(Answer::invalid(NO_MODEL)));
    }
    Ok(())
}

/// What of the inputs belongs to the form.
pub(super) fn form(call: &Call<'_>, inputs: &Value) -> Result<Value, Refused> {
    let mut form = Map::new();
    for field in call.app.app.fields() {
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

/// The files a request names; uploads need not be of this user or app, only of this Dify.
pub(super) fn files(call: &Call<'_>, list: Option<&Value>) -> Result<Vec<Attached>, Refused> {
    let mut found = Vec::new();
    for file in list.and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| file.get(name).map(pyjson::str_of).unwrap_or_default();
        match text("transfer_method").as_str() {
            "local_file" => found.push(upload(call, &text("upload_file_id"), &text("type"))?),
            "remote_url" => {
                found.push(Attached::Remote { kind: text("type"), url: text("url") });
            }
            _ => {}
        }
    }
    Ok(found)
}

fn upload(call: &Call<'_>, id: &str, asked: &str) -> Result<Attached, Refused> {
    let Ok(id) = Uuid::parse_str(id) else {
        return Err(Box::new(Answer::invalid("Invalid upload file id format")));
    };
    let db = call.shared.db();
    let Some(file) = db.files.get(id) else {
        return Err(Box::new(Answer::invalid("Invalid upload file")));
    };
    if !matches!(asked, "" | "custom") && asked != files::kind(&file.extension) {
        let message = "Detected file type does not match the specified type. Please verify the \
            file.";
        return Err(Box::new(Answer::invalid(message)));
    }
    Ok(Attached::Upload(id))
}

pub(super) fn stop_chat(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    if !call.app.app.mode.has_conversations() {
        return Err(Box::new(Answer::wrong_mode("not_chat_app")));
    }
    stop(call, task)
}

pub(super) fn stop_completion(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    if call.app.app.mode != Mode::Completion {
        return Err(Box::new(unavailable()));
    }
    stop(call, task)
}

/// Always a success, whether there is such a task or not.
pub(super) fn stop(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    if call.shared.condition.borrow().fault == Fault::RedisDown {
        return Err(Box::new(Answer::crash()));
    }
    call.shared.tasks.stop(task, call.app.id, &call.user);
    Ok(Answer::success())
}
