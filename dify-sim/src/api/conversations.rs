//! Conversations: list, delete, name, variables.

use super::Call;
use super::arguments::{choice, limit, uuid_text};
use crate::db::Conversation;
use crate::pyjson;
use crate::state::now;
use crate::wire::answer::{Answer, Refused};
use serde_json::{Value, json};
use uuid::Uuid;

fn chat_app(call: &Call<'_>) -> Result<(), Refused> {
    if call.app.app.mode.has_conversations() {
        return Ok(());
    }
    Err(Box::new(Answer::wrong_mode("not_chat_app")))
}

fn gone() -> Refused {
    Box::new(Answer::not_found("Conversation Not Exists."))
}

fn row(id: Uuid, conversation: &Conversation) -> Value {
    json!({
        "id": id.to_string(),
        "name": conversation.name,
        "inputs": conversation.inputs,
        "status": "normal",
        "introduction": "",
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    })
}

/// The conversations of a user; of a user from another Dify it is 200 and empty.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, Refused> {
    chat_app(call)?;
    let last = match call.head.query("last_id") {
        Some(text) if !text.is_empty() => Some(uuid_text(&text, "last_id")?),
        _ => None,
    };
    let limit = limit(call)?;
    let asked = call.head.query("sort_by").map(Value::String);
    let sorts = ["created_at", "-created_at", "updated_at", "-updated_at"];
    let sort = choice(asked.as_ref(), "sort_by", &sorts)?;
    let sort = sort.as_deref().unwrap_or("-updated_at");
    let db = call.shared.db();
    let mut rows: Vec<(Uuid, &Conversation)> = db
        .conversations
        .iter()
        .filter(|(_, row)| row.app == call.app.id && row.user == call.user)
        .collect();
    if sort.ends_with("updated_at") {
        rows.sort_by_key(|(_, row)| row.changed);
    }
    if sort.starts_with('-') {
        rows.reverse();
    }
    let first = match last {
        None => 0,
        Some(last) => match rows.iter().position(|(id, _)| *id == last) {
            Some(at) => at + 1,
            None => return Err(Box::new(Answer::not_found("Last Conversation Not Exists."))),
        },
    };
    let rest = &rows[first..];
    let data: Vec<Value> = rest.iter().take(limit).map(|(id, found)| row(*id, found)).collect();
    let body = json!({"limit": limit, "has_more": rest.len() > limit, "data": data});
    Ok(Answer::restful(200, &body))
}

pub(super) fn delete(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    chat_app(call)?;
    let mut db = call.shared.db();
    if db.conversation(id, call.app.id, &call.user).is_none() {
        return Err(gone());
    }
    if let Some(conversation) = db.conversations.remove(id) {
        for message in conversation.messages {
            db.messages.remove(message);
        }
    }
    Ok(Answer::no_content())
}

/// Gives it a name; a generated one is the name it has.
pub(super) fn name(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    chat_app(call)?;
    let name = call.json.get("name").filter(|name| !name.is_null()).map(pyjson::str_of);
    let generated = call.json.get("auto_generate").is_some_and(|auto| !pyjson::is_falsy(auto));
    let mut db = call.shared.db();
    if db.conversation(id, call.app.id, &call.user).is_none() {
        return Err(gone());
    }
    let changed = db.change();
    let conversation = db.conversations.get_mut(id).ok_or_else(gone)?;
    match name {
        _ if generated => {}
        Some(name) => conversation.name = name,
        None => return Err(Box::new(Answer::crash())),
    }
    conversation.updated_at = now();
    conversation.changed = changed;
    Ok(Answer::restful(200, &row(id, conversation)))
}

/// The one variable the echo chatflow has.
pub(super) fn variables(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    chat_app(call)?;
    let limit = limit(call)?;
    let db = call.shared.db();
    let conversation = db.conversation(id, call.app.id, &call.user).ok_or_else(gone)?;
    let data = if call.app.app.flow == crate::app::Flow::Echo {
        json!([{
            "id": "0f4a4b3e-5c2e-4a2f-9b59-7b7d7c5a0001",
            "name": "lang",
            "value_type": "string",
            "value": "en",
            "description": "d",
            "created_at": conversation.created_at,
            "updated_at": conversation.created_at,
        }])
    } else {
        json!([])
    };
    Ok(Answer::restful(200, &json!({"limit": limit, "has_more": false, "data": data})))
}
