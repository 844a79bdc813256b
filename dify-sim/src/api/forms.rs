//! The form of a paused run: what it asks, and its submission by any user of the app.

use super::Call;
use crate::db::{Db, Filled, Form};
use crate::pyjson;
use crate::run::human;
use crate::wire::answer::{Answer, Refused};
use serde_json::json;

/// The form of this token, if it is one of this app that can still be filled.
fn open<'d>(db: &'d Db, call: &Call<'_>, token: &str) -> Result<&'d Form, Refused> {
    let form = db.forms.get(token).filter(|form| form.app == call.app.id);
    let Some(form) = form else { return Err(Box::new(Answer::not_found("Form not found."))) };
    if form.filled.is_some() {
        let message =
            format!("This form has already been submitted by another user, form_id={}", form.id);
        return Err(Box::new(Answer::error(412, "human_input_form_submitted", &message)));
    }
    Ok(form)
}

pub(super) fn get(call: &Call<'_>, token: &str) -> Result<Answer, Refused> {
    let db = call.shared.db();
    let form = open(&db, call, token)?;
    let (inputs, actions) = human::fields(call.release());
    let body = format!(
        "{{\"form_content\": {}, \"inputs\": {inputs}, \"resolved_default_values\": {{}}, \
         \"user_actions\": {actions}, \"expiration_time\": {}}}",
        pyjson::quote(&form.content),
        form.expires_at
    );
    Ok(Answer::json(200, body))
}

pub(super) fn submit(call: &Call<'_>, token: &str) -> Result<Answer, Refused> {
    let action = call.json.get("action").map(pyjson::str_of).unwrap_or_default();
    let comment = call.json.get("inputs").and_then(|inputs| inputs.get("comment"));
    let filled = Filled { action, comment: comment.map(pyjson::str_of).unwrap_or_default() };
    let mut db = call.shared.db();
    open(&db, call, token)?;
    if !human::has_action(&filled.action) {
        let message = format!("Invalid action: {}", filled.action);
        return Err(Box::new(Answer::error(400, "invalid_form_data", &message)));
    }
    let Some(form) = db.forms.get_mut(token) else {
        return Err(Box::new(Answer::not_found("Form not found.")));
    };
    form.filled = Some(filled.clone());
    let (run, resume) = (form.run, form.resume.take());
    let live = db.runs.get(run).and_then(|row| row.live.clone());
    drop(db);
    if let (Some(resume), Some(live)) = (resume, live) {
        resume(live, filled);
    }
    Ok(Answer::restful(200, &json!({})))
}
