//! The node that waits for a human: the pause, its form, and the way on.

use super::nodes::Result as NodeResult;
use super::stage::Halt;
use super::steps::Steps;
use super::turn::Turn;
use crate::app::Mode;
use crate::clock::now;
use crate::db::{Filled, Form, Pause};
use crate::pyjson;
use crate::release::Release;
use std::fmt::Write;
use uuid::Uuid;

/// How long a form can be filled.
const EXPIRES_S: i64 = 36 * 3600;

const ACTIONS: [(&str, &str, &str); 2] =
    [("approve", "Approve", "primary"), ("reject", "Reject", "default")];

impl Filled {
    /// What its button says.
    pub(crate) fn title(&self) -> &str {
        let found = ACTIONS.iter().find(|(id, ..)| *id == self.action);
        found.map_or(self.action.as_str(), |(_, title, _)| title)
    }
}

/// Whether a form has this button.
pub(crate) fn has_action(id: &str) -> bool {
    ACTIONS.iter().any(|(known, ..)| *known == id)
}

/// The fields and buttons of the form, as JSON text.
pub(crate) fn fields(release: Release) -> (String, String) {
    let default = "\"default\": {\"type\": \"constant\", \"selector\": [], \"value\": \"ok\"}";
    let (name, kind) = ("\"output_variable_name\": \"comment\"", "\"type\": \"paragraph\"");
    let inputs = if release.has_forms() {
        format!("[{{{name}, {kind}, {default}}}]")
    } else {
        format!("[{{{kind}, {name}, {default}}}]")
    };
    let actions: Vec<String> = ACTIONS
        .iter()
        .map(|(id, title, style)| {
            format!("{{\"id\": \"{id}\", \"title\": \"{title}\", \"button_style\": \"{style}\"}}")
        })
        .collect();
    (inputs, format!("[{}]", actions.join(", ")))
}

/// The text of the form with the place of its field still open.
fn content(turn: &Turn) -> String {
    let said = match turn.app.app.mode {
        Mode::Workflow => format!("Please review {}", turn.input("query")),
        _ => "Say".to_owned(),
    };
    format!("{said}: {{{{#$output.comment#}}}}")
}

/// The same as the app's author wrote it.
pub(crate) fn written(mode: Mode) -> &'static str {
    match mode {
        Mode::Workflow => "Please review {{#start.query#}}: {{#$output.comment#}}",
        _ => "Say: {{#$output.comment#}}",
    }
}

/// `data` of `human_input_required`.
pub(crate) fn required(form: &Form, token: &str, content: &str, release: Release) -> String {
    let (inputs, actions) = fields(release);
    format!(
        "{{\"form_id\": \"{}\", \"node_id\": \"human\", \"node_title\": \"Human\", \"form_content\": {}, \
         \"inputs\": {inputs}, \"actions\": {actions}, \"display_in_ui\": true, \"form_token\": \
         \"{token}\", \"resolved_default_values\": {{}}, \"expiration_time\": {}}}",
        form.id,
        pyjson::quote(content),
        form.expires_at
    )
}

/// One entry of `reasons`.
pub(crate) fn reason(form: &Form, token: &str, content: &str, release: Release) -> String {
    let (inputs, actions) = fields(release);
    let mut text = format!(
        "{{\"TYPE\": \"human_input_required\", \"form_id\": \"{}\", \"form_content\": {}, \"inputs\": \
         {inputs}, \"actions\": {actions}, ",
        form.id,
        pyjson::quote(content)
    );
    let shown = if release.has_forms() { "" } else { "\"display_in_ui\": true, " };
    let _ = write!(
        text,
        "{shown}\"node_id\": \"human\", \"node_title\": \"Human\", \"resolved_default_values\": {{}}, \
         \"form_token\": \"{token}\""
    );
    if release.has_forms() {
        let _ = write!(text, ", \"expiration_time\": {}", form.expires_at);
    }
    text.push('}');
    text
}

/// `data` of `workflow_paused`.
pub(crate) fn paused(run: Uuid, reason: &str, created_at: i64, elapsed: f64) -> String {
    format!(
        "{{\"workflow_run_id\": \"{run}\", \"paused_nodes\": [\"human\"], \"outputs\": {{}}, \"reasons\": \
         [{reason}], \"status\": \"paused\", \"created_at\": {created_at}, \"elapsed_time\": {}, \
         \"total_tokens\": 0, \"total_steps\": 2}}",
        super::nodes::seconds(elapsed)
    )
}

/// 22 letters and digits that nobody guesses.
fn token() -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let one = Uuid::new_v4();
    let other = Uuid::new_v4();
    let bytes = one.as_bytes().iter().chain(other.as_bytes());
    bytes.take(22).map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect()
}

/// Stops at the node and leaves a form behind.
pub(super) async fn ask(steps: &mut Steps<'_, '_>) -> Result<(), Halt> {
    let turn = steps.turn;
    let release = turn.release();
    let node = steps.start("human", "human-input", "Human", Some("start")).await?;
    let token = token();
    let content = content(turn);
    let form = Form {
        id: Uuid::new_v4(),
        app: turn.app.id,
        run: turn.run,
        content: content.clone(),
        expires_at: now() + EXPIRES_S,
        filled: None,
        resume: None,
    };
    let data = required(&form, &token, &content, release);
    let reason = reason(&form, &token, &content, release);
    steps.note_end(&node, "paused");
    let elapsed = steps.stage.elapsed();
    {
        let mut db = turn.shared.db();
        if let Some(row) = db.runs.get_mut(turn.run) {
            row.status = "paused";
            row.steps = steps.count;
            row.outputs = Some("{}".to_owned());
            row.pause = Some(Pause { token: token.clone(), reason: reason.clone() });
        }
        if let Some(message) = db.messages.get_mut(turn.message) {
            message.paused_run = Some(turn.run);
        }
        db.forms.insert(token, form);
    }
    steps.stage.last_event(|| turn.flow_event("human_input_required", &data)).await?;
    let data = paused(turn.run, &reason, turn.created_at, elapsed);
    steps.stage.last_event(|| turn.flow_event("workflow_paused", &data)).await
}

/// What a filled form says.
pub(crate) fn rendered(content: &str, filled: &Filled) -> String {
    content.replace("{{#$output.comment#}}", &filled.comment)
}

/// The node again, with its form filled; `told` is what becomes of the comment at once.
pub(super) async fn answer(
    steps: &mut Steps<'_, '_>,
    filled: &Filled,
    told: Option<String>,
) -> Result<(), Halt> {
    let turn = steps.turn;
    // The start node and this one ran before the pause.
    steps.count = 2;
    let given = turn.flow_inputs("[]", super::inputs::Shown::Started);
    let data = turn.flow_started(&given, "resumption");
    steps.stage.event(|| turn.flow_event("workflow_started", &data)).await?;
    let paused = {
        let mut db = turn.shared.db();
        let row = db.runs.get_mut(turn.run);
        row.and_then(|row| {
            row.status = "running";
            row.pause = None;
            row.nodes.iter().map(|step| step.node).find(|node| node.node == "human")
        })
    };
    let Some(mut node) = paused else { return Err(Halt::Gone) };
    node.created_at = now();
    steps.count += 1;
    let release = turn.release();
    steps.stage.event(|| turn.flow_event("node_started", &node.started(release))).await?;
    let text = rendered(&content(turn), filled);
    let (comment, shown) = (pyjson::quote(&filled.comment), pyjson::quote(&text));
    let title = pyjson::quote(filled.title());
    let submitted = if release.shows_submissions() {
        format!(", \"submitted_data\": {{\"comment\": {comment}}}")
    } else {
        String::new()
    };
    let action = &filled.action;
    let data = format!(
        "{{\"node_id\": \"human\", \"node_title\": \"Human\", \"rendered_content\": {shown}, \
         \"action_id\": \"{action}\", \"action_text\": {title}{submitted}}}"
    );
    steps.stage.event(|| turn.flow_event("human_input_form_filled", &data)).await?;
    if let Some(event) = told {
        steps.stage.event(|| event).await?;
    }
    let inputs = format!("{{\"comment\": {{\"value_type\": \"string\", \"value\": {comment}}}}}");
    let outputs = format!(
        "{{\"comment\": {comment}, \"__action_id\": \"{action}\", \"__rendered_content\": {shown}, \
         \"__action_value\": {title}}}"
    );
    let result = NodeResult { ..steps.result(&inputs, "null", &outputs) };
    steps.finish(&node, &result).await
}
