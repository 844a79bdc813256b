//! A run that waits for a person: its forms, as text that says where to fill them in.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::event::{Event, Workflow};
use super::lenient::{items, part};
use super::run_decoder::RunDecoder;
use crate::adapter::response_encoder::AppEvent;
use crate::model::ai::HumanInput;
use crate::model::{ErrorKind, GatewayError};

/// The most forms of a run.
const MAX_FORMS: usize = 16;

/// What of a form a client gets beside its text.
const FIELDS: [&str; 7] =
    ["form_id", "form_token", "node_title", "form_content", "inputs", "actions", "expiration_time"];

impl RunDecoder {
    /// A form by an event of its own, before the pause.
    pub(super) fn human_input_required(&mut self, event: &Event<'_>) {
        self.add_form(&part(event.data));
    }

    /// The run has paused and its stream ends: with the forms as the rest of the answer, or as a
    /// failure.
    pub(super) fn paused(&mut self, run: &Workflow<'_>, emit: &mut dyn FnMut(AppEvent)) {
        for reason in items::<Value>(run.reasons) {
            self.add_form(&reason);
        }
        if self.options.human_input == HumanInput::Error || self.summary.forms.is_empty() {
            let message = "The app waits for human input, which this API cannot express.";
            return self.fail(GatewayError::new(
                502,
                ErrorKind::Server,
                "human_input_required",
                message,
            ));
        }
        if self.message_ended {
            return self.state = self.over(emit);
        }
        let web_url = self.options.web_url.as_deref();
        for form in &mut self.summary.forms {
            if let (Some(url), Some(fields)) = (page(form, web_url), form.as_object_mut()) {
                fields.insert("form_url".to_owned(), url.into());
            }
        }
        let texts: Vec<_> = self.summary.forms.iter().map(form_text).collect();
        self.flush(emit);
        let gap = if self.summary.text.is_empty() { "" } else { "\n\n" };
        self.tell(format!("{gap}{}", texts.join("\n\n")), emit);
        self.state = self.over(emit);
    }

    /// Takes a form, unless it is known.
    fn add_form(&mut self, reason: &Value) {
        let has = |name: &str| reason.get(name).is_some_and(|value| !value.is_null());
        if !has("form_content") && !has("form_token") && !has("form_id") {
            return;
        }
        let same = |known: &Value| {
            ["form_id", "form_token"].iter().any(|id| has(id) && known.get(id) == reason.get(id))
        };
        if self.summary.forms.iter().any(same) || self.summary.forms.len() >= MAX_FORMS {
            return;
        }
        let fields = FIELDS.iter().filter_map(|name| {
            let value = reason.get(name).filter(|value| !value.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        });
        self.summary.forms.push(Value::Object(fields.collect()));
    }
}

/// A form's token as it may stand in a path. Dify's have 22 letters and digits.
fn token(form: &Value) -> Option<&str> {
    let token = form.get("form_token")?.as_str()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    (!token.is_empty() && token.bytes().all(plain)).then_some(token)
}

/// Where a person fills it in: Dify's own page of it.
fn page(form: &Value, web_url: Option<&str>) -> Option<String> {
    Some(format!("{}/form/{}", web_url?, token(form)?))
}

/// What a form says, what may be chosen, and how.
fn form_text(form: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
    let list = |name: &str| form.get(name).and_then(Value::as_array).into_iter().flatten();
    let mut out = text(form, "form_content").unwrap_or_default();
    let mut inputs = Map::new();
    for input in list("inputs") {
        let Some(name) = text(input, "output_variable_name") else { continue };
        out = out.replace(&format!("{{{{#$output.{name}#}}}}"), &format!("[{name}]"));
        let default = input.get("default").and_then(|default| default.get("value"));
        inputs.insert(name, default.cloned().unwrap_or_else(|| "".into()));
    }
    let title = text(form, "node_title").unwrap_or_default();
    if out.trim().is_empty() {
        out = title;
    }
    out.push_str("\n\n");
    let actions: Vec<_> = list("actions")
        .filter_map(|action| {
            let id = text(action, "id")?;
            Some((text(action, "title").unwrap_or_else(|| id.clone()), id))
        })
        .collect();
    if !actions.is_empty() {
        let titles: Vec<_> = actions.iter().map(|(title, _)| title.as_str()).collect();
        let _ = writeln!(out, "Choose one of: {}", titles.join(", "));
    }
    if let Some(url) = text(form, "form_url") {
        let _ = writeln!(out, "Fill it in at {url}");
    }
    match token(form) {
        Some(token) => {
            let action = actions.first().map_or("", |(_, id)| id.as_str());
            let body = json!({"action": action, "inputs": inputs, "user": "…"});
            let _ = writeln!(
                out,
                "Programs submit it with `POST /v1/form/human_input/{token}` and `{body}`"
            );
        }
        None => out.push_str("It can be filled in by those it was sent to.\n"),
    }
    let until = form.get("expiration_time").and_then(Value::as_i64);
    if let Some(until) = until.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
        let _ = writeln!(out, "Open until {until}");
    }
    out.trim_end().to_owned()
}
