//! Conversations: list, delete, name, variables.

use super::arguments::{choice, limit, uuid_text};
use super::{Call, models, pydantic};
use crate::app::Flow;
use crate::clock::now;
use crate::db::Conversation;
use crate::pyjson;
use crate::run::turn::TITLE;
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
    if call.release().is_restx() {
        pydantic::check(&models::CONVERSATIONS, &call.head.query_object())?;
    }
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
        .filter(|(_, row)| row.app == call.app.id && row.user == call.user && !row.lost)
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

/// Gives it a name; a generated one is the name it has, later what the model calls everything.
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
        _ if generated && call.release().names_apart() => TITLE.clone_into(&mut conversation.name),
        _ if generated => {}
        Some(name) => conversation.name = name,
        None if call.release().is_restx() => {
            let message = "name is required when auto_generate is false";
            return Err(Box::new(Answer::invalid(message)));
        }
        None => return Err(Box::new(Answer::crash())),
    }
    conversation.updated_at = now();
    conversation.changed = changed;
    Ok(Answer::restful(200, &row(id, conversation)))
}

/// The id of the one variable that echoing chatflows have.
const VARIABLE: Uuid = Uuid::from_u128(0x0f4a4b3e_5c2e_4a2f_9b59_7b7d7c5a0001);

fn variable(conversation: &Conversation) -> Value {
    json!({
        "id": VARIABLE.to_string(),
        "name": "lang",
        "value_type": "string",
        "value": conversation.language,
        "description": "d",
        "created_at": conversation.created_at,
        "updated_at": conversation.created_at,
    })
}

/// The variables: one of an echoing chatflow, else none. Later releases crash on a filter by name,
/// as they do on PostgreSQL.
pub(super) fn variables(call: &Call<'_>, id: Uuid) -> Result<Answer, Refused> {
    chat_app(call)?;
    let limit = limit(call)?;
    let db = call.shared.db();
    let conversation = db.conversation(id, call.app.id, &call.user).ok_or_else(gone)?;
    if call.release().is_restx() && call.head.query("variable_name").is_some() {
        return Err(Box::new(Answer::crash()));
    }
    let data =
        if call.app.app.flow == Flow::Echo { json!([variable(conversation)]) } else { json!([]) };
    Ok(Answer::restful(200, &json!({"limit": limit, "has_more": false, "data": data})))
}

/// Gives the variable a value.
pub(super) fn set_variable(call: &Call<'_>, id: Uuid, asked: Uuid) -> Result<Answer, Refused> {
    chat_app(call)?;
    let mut db = call.shared.db();
    if db.conversation(id, call.app.id, &call.user).is_none() {
        return Err(gone());
    }
    if call.app.app.flow != Flow::Echo || asked != VARIABLE {
        return Err(Box::new(Answer::not_found("Conversation Variable Not Exists.")));
    }
    let conversation = db.conversations.get_mut(id).ok_or_else(gone)?;
    conversation.language = call.json.get("value").map(pyjson::str_of).unwrap_or_default();
    Ok(Answer::restful(200, &variable(conversation)))
}
