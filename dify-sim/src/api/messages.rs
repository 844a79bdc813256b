//! Messages: the list of a conversation, feedback, suggested questions.

use super::arguments::{choice, limit, number, uuid_text};
use super::{Call, models, pydantic};
use crate::app::{Flow, Mode};
use crate::clock::now;
use crate::db::{Attached, Db, Feedback, Message};
use crate::pyjson;
use crate::run::files;
use crate::run::human;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Value, json};
use uuid::Uuid;

fn gone() -> Refused {
    Box::new(Answer::not_found("Message Not Exists."))
}

/// The newest page of a conversation, oldest message first.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, Refused> {
    if !call.app.app.mode.has_conversations() {
        return Err(Box::new(Answer::wrong_mode("not_chat_app")));
    }
    if call.release().is_restx() {
        pydantic::check(&models::MESSAGES, &call.head.query_object())?;
    }
    let Some(conversation) = call.head.query("conversation_id") else {
        let message = "Missing required parameter in the query string";
        return Err(Box::new(Answer::parameter(message, "conversation_id")));
    };
    let conversation = uuid_text(&conversation, "conversation_id")?;
    let first = match call.head.query("first_id") {
        Some(text) if !text.is_empty() => Some(uuid_text(&text, "first_id")?),
        _ => None,
    };
    let limit = limit(call)?;
    let db = call.shared.db();
    let Some(found) = db.conversation(conversation, call.app.id, &call.user) else {
        return Err(Box::new(Answer::not_found("Conversation Not Exists.")));
    };
    let end = match first {
        None => found.messages.len(),
        Some(first) => match found.messages.iter().position(|id| *id == first) {
            Some(at) => at,
            None => return Err(Box::new(Answer::not_found("First Message Not Exists."))),
        },
    };
    let start = end.saturating_sub(limit);
    let data: Vec<Value> = found.messages[start..end]
        .iter()
        .filter_map(|id| Some(row(call, &db, *id, db.messages.get(*id)?)))
        .collect();
    let body = json!({"limit": limit, "has_more": start > 0, "data": data});
    Ok(Answer::restful(200, &body))
}

fn row(call: &Call<'_>, db: &Db, id: Uuid, message: &Message) -> Value {
    let feedback = message.feedback.as_ref().map(|feedback| json!({"rating": feedback.rating}));
    let given = message.files.iter().map(|file| (file, "user"));
    let shown = message.answer_files.iter().map(|file| (file, "assistant"));
    let files: Vec<Value> = given
        .chain(shown)
        .filter_map(|((link, file), of)| listed(call, db, *link, file, of))
        .collect();
    let thoughts: Vec<Value> = message
        .thought
        .iter()
        .map(|(thought, text)| {
            json!({
                "id": thought.to_string(),
                "chain_id": null,
                "message_id": id.to_string(),
                "position": 1,
                "thought": text,
                "tool": "",
                "tool_labels": {},
                "tool_input": "",
                "created_at": message.created_at,
                "observation": "",
                "files": [],
            })
        })
        .collect();
    let later = call.release().is_restx();
    let status = match (message.error.is_some(), message.paused_run) {
        (true, _) => "error",
        (false, Some(run)) if db.runs.get(run).is_some_and(|run| run.pause.is_some()) => "paused",
        (false, _) => "normal",
    };
    let mut answer = message.answer.clone();
    for (_, file) in &message.answer_files {
        if let Attached::Upload(id) = file {
            answer = files::resigned_link(call.shared, &answer, *id);
        }
    }
    let mut row = json!({
        "id": id.to_string(),
        "conversation_id": message.conversation.to_string(),
        "parent_message_id": Uuid::nil().to_string(),
        "inputs": message.inputs,
        "query": message.query,
        "answer": answer,
    });
    let Value::Object(fields) = &mut row else { return row };
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if !later {
        put("message_files", files.clone().into());
    }
    put("feedback", json!(feedback));
    put("retriever_resources", json!([]));
    put("created_at", message.created_at.into());
    put("agent_thoughts", thoughts.into());
    if later {
        put("message_files", files.into());
    }
    put("status", status.into());
    put("error", json!(message.error));
    if later {
        let forms = message.paused_run.into_iter();
        let contents: Vec<Value> = forms.filter_map(|run| form(call, db, run)).collect();
        put("extra_contents", contents.into());
    }
    row
}

/// A file of a message; `of` says whose it is.
fn listed(call: &Call<'_>, db: &Db, link: Uuid, file: &Attached, of: &str) -> Option<Value> {
    let id = match file {
        Attached::Upload(id) => id,
        Attached::Remote { kind, url } => {
            return Some(json!({
                "id": link.to_string(),
                "filename": Attached::remote_name(url),
                "type": kind,
                "url": url,
                "mime_type": "",
                "size": -1,
                "transfer_method": "remote_url",
                "belongs_to": of,
                "upload_file_id": null,
            }));
        }
    };
    let file = db.files.get(*id)?;
    Some(json!({
        "id": link.to_string(),
        "filename": file.name,
        "type": files::kind(&file.extension),
        "url": files::signed_url(call.shared, *id),
        "mime_type": file.mime_type,
        "size": file.size,
        "transfer_method": "local_file",
        "belongs_to": of,
        "upload_file_id": id.to_string(),
    }))
}

/// The form that a message waits, or waited, for.
fn form(call: &Call<'_>, db: &Db, run: Uuid) -> Option<Value> {
    let (token, form) = db.forms.of_run(run)?;
    let content = &form.content;
    let definition = human::required(form, token, content, call.release());
    let mut definition: Value = serde_json::from_str(&definition).ok()?;
    if form.filled.is_some() {
        definition["form_token"] = Value::Null;
    }
    let data = form.filled.as_ref().map(|filled| {
        json!({
            "node_id": "human",
            "node_title": "Human",
            "rendered_content": human::rendered(content, filled),
            "action_id": filled.action,
            "action_text": filled.title(),
            "submitted_data": {"comment": filled.comment},
        })
    });
    Some(json!({
        "workflow_run_id": run.to_string(),
        "submitted": form.filled.is_some(),
        "form_definition": definition,
        "form_submission_data": data,
        "type": "human_input",
    }))
}

pub(super) fn feedback(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    if call.release().is_restx() {
        pydantic::check(&models::FEEDBACK, &call.json)?;
    }
    let rating = choice(call.json.get("rating"), "rating", &["like", "dislike"])?;
    let content = call.json.get("content").filter(|text| !text.is_null()).map(pyjson::str_of);
    let mut db = call.shared.db();
    if db.message(id, call.app.id, &call.user).is_none() {
        return Err(gone());
    }
    let message = db.messages.get_mut(id).ok_or_else(gone)?;
    match (rating, &mut message.feedback) {
        (None, None) => {
            let text = "rating cannot be None when feedback not exists";
            return Err(Box::new(Answer::invalid(text)));
        }
        (None, given) => *given = None,
        (Some(rating), Some(given)) => {
            given.rating = rating;
            given.content = content;
        }
        (Some(rating), given) => {
            *given = Some(Feedback { id: Uuid::new_v4(), rating, content, created_at: now() });
        }
    }
    Ok(Answer::success())
}

/// All feedback of the app, of all its users, the newest first.
pub(super) fn feedbacks(call: &Call<'_>) -> Result<Answer, Refused> {
    let page = number(call, "page", 1, 99_999)?;
    let limit = number(call, "limit", 20, 101)?;
    let mut db = call.shared.db();
    let found: Vec<(Uuid, String)> = db
        .messages
        .iter()
        .rev()
        .filter(|(_, row)| row.app == call.app.id && row.feedback.is_some())
        .skip((page - 1) * limit)
        .take(limit)
        .map(|(id, row)| (id, row.user.clone()))
        .collect();
    let mut data = Vec::new();
    for (id, user) in found {
        let user = db.user(call.app.id, &user);
        let Some(message) = db.messages.get(id) else { continue };
        let Some(feedback) = &message.feedback else { continue };
        let time = jiff::Timestamp::from_second(feedback.created_at).unwrap_or_default();
        let time = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        data.push(json!({
            "id": feedback.id.to_string(),
            "app_id": call.app.id.to_string(),
            "conversation_id": message.conversation.to_string(),
            "message_id": id.to_string(),
            "rating": feedback.rating,
            "content": feedback.content,
            "from_source": "user",
            "from_end_user_id": user.to_string(),
            "from_account_id": null,
            "created_at": time,
            "updated_at": time,
        }));
    }
    Ok(Answer::restful(200, &json!({"data": data})))
}

pub(super) fn suggested(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    if !call.app.app.mode.has_conversations() || call.app.app.mode == Mode::Completion {
        return Err(Box::new(Answer::wrong_mode("not_chat_app")));
    }
    if call.shared.db().message(id, call.app.id, &call.user).is_none() {
        return Err(gone());
    }
    if !call.app.app.suggested {
        let message = "Suggested Questions Is Disabled.";
        return Err(Box::new(Answer::error(400, "bad_request", message)));
    }
    // In 1.5 the model was not asked.
    let named = call.release().is_restx() && call.app.app.flow == Flow::Llm;
    let data: &[&str] = if named { &["question1", "question2", "question3"] } else { &[] };
    Ok(Answer::restful(200, &json!({"result": "success", "data": data})))
}
