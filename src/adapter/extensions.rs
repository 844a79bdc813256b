//! Fields that are accepted beyond the protocols: who asks, in which conversation, and inputs of the app.

use uuid::Uuid;

use super::completion_request::CompletionRequest;
use super::json_object::{self, JsonObject, Part};
use crate::model::GatewayError;

/// What stands before Dify's id in the ids of conversations that a client gets.
pub const CONVERSATION: &str = "conv_";

/// Takes `user`, `safety_identifier`, `conversation`, `conversation_id`, `inputs` and of `metadata`
/// `user_id`, `chat_id`, `conversation_id` and `task`. What comes first counts.
pub fn take(
    body: &mut JsonObject<'_>,
    metadata: &mut JsonObject<'_>,
    request: &mut CompletionRequest,
) -> Result<(), GatewayError> {
    let users = [body.word("user")?, body.word("safety_identifier")?, metadata.word("user_id")?];
    request.user = users.into_iter().flatten().next();
    let conversations = [
        conversation(body)?,
        dify_id(body, "conversation_id")?,
        dify_id(metadata, "conversation_id")?,
    ];
    request.hints.conversation = conversations.into_iter().flatten().next();
    request.hints.chat = metadata.word("chat_id")?;
    request.is_task = metadata.word("task")?.is_some_and(|task| task != "false");
    request.inputs = body.object_text("inputs")?;
    Ok(())
}

/// `conversation`: an id, or an object with one.
fn conversation(body: &mut JsonObject<'_>) -> Result<Option<String>, GatewayError> {
    match body.part("conversation") {
        None => Ok(None),
        Some(Part::Object(text)) => {
            dify_id(&mut JsonObject::of_text(body.place("conversation"), text)?, "id")
        }
        Some(Part::Text(id)) => dify_form(&id, &body.place("conversation")),
        Some(_) => {
            let wanted = "a string or an object with an id";
            Err(json_object::wrong_type(&body.place("conversation"), wanted))
        }
    }
}

fn dify_id(from: &mut JsonObject<'_>, name: &str) -> Result<Option<String>, GatewayError> {
    match from.word(name)? {
        None => Ok(None),
        Some(id) => dify_form(&id, &from.place(name)),
    }
}

/// Dify's form of a conversation's id, which a client may have with our prefix. Empty is absent.
fn dify_form(id: &str, place: &str) -> Result<Option<String>, GatewayError> {
    if id.is_empty() {
        return Ok(None);
    }
    let bare = id.strip_prefix(CONVERSATION).unwrap_or(id);
    let why = "must be the id of a conversation, as answers give it";
    let id = Uuid::try_parse(bare).map_err(|_| json_object::wrong_value(place, why))?;
    Ok(Some(id.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::adapter::ConversationHints;
    use crate::adapter::object_text::ObjectText;

    fn taken(body: Value) -> Result<CompletionRequest, GatewayError> {
        let body = body.to_string();
        let mut body = JsonObject::of_body(body.as_bytes())?;
        let (mut metadata, mut request) = (body.fields("metadata")?, CompletionRequest::default());
        take(&mut body, &mut metadata, &mut request)?;
        metadata.leave(&mut request.ignored);
        Ok(request)
    }

    #[test]
    fn the_user_is_the_first_that_is_named() {
        let user = |body| taken(body).unwrap().user;
        let all = json!({"user": "a", "safety_identifier": "b", "metadata": {"user_id": "c"}});
        assert_eq!(user(all).as_deref(), Some("a"));
        let two = json!({"user": "", "safety_identifier": "b", "metadata": {"user_id": "c"}});
        assert_eq!(user(two).as_deref(), Some("b"));
        assert_eq!(user(json!({"metadata": {"user_id": "c"}})).as_deref(), Some("c"));
        assert_eq!(user(json!({"user": 17})).as_deref(), Some("17"));
        assert_eq!(user(json!({"user": null, "metadata": null})), None);
    }

    #[test]
    fn a_conversation_is_known_with_and_without_our_prefix() {
        let uuid = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
        let other = "c0ffee00-0000-4000-8000-000000000001";
        for body in [
            json!({"conversation": "conv_1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed"}),
            json!({"conversation": {"id": format!("conv_{uuid}")}, "conversation_id": other}),
            json!({"conversation_id": uuid, "metadata": {"conversation_id": other}}),
            json!({"metadata": {"conversation_id": uuid.to_uppercase()}}),
        ] {
            assert_eq!(taken(body).unwrap().hints.conversation.as_deref(), Some(uuid));
        }
        let absent = taken(json!({"conversation": "", "conversation_id": null})).unwrap();
        assert_eq!(absent.hints.conversation, None);
    }

    #[test]
    fn metadata_may_name_the_chat_and_a_side_task() {
        let request =
            taken(json!({"metadata": {"chat_id": "c1", "task": "title", "x": 1}})).unwrap();
        assert_eq!(
            request.hints,
            ConversationHints { chat: Some("c1".into()), ..ConversationHints::default() }
        );
        assert!(request.is_task);
        assert_eq!(request.ignored, ["x"].map(|name| format!("metadata.{name}")));
        assert!(!taken(json!({"metadata": {"task": ""}})).unwrap().is_task);
    }

    #[test]
    fn inputs_go_to_the_app() {
        let request = taken(json!({"inputs": {"language": "de", "n": 3}})).unwrap();
        assert_eq!(request.inputs.text(), r#"{"language":"de","n":3}"#);
        assert_eq!(taken(json!({"inputs": {}})).unwrap().inputs, ObjectText::default());
        assert_eq!(taken(json!({"inputs": null})).unwrap().inputs, ObjectText::default());
    }

    #[test]
    fn wrong_types_are_refused_by_their_place() {
        for (body, place) in [
            (json!({"user": {}}), "user"),
            (json!({"safety_identifier": []}), "safety_identifier"),
            (json!({"conversation": 1}), "conversation"),
            (json!({"conversation": "mine"}), "conversation"),
            (json!({"conversation": {"id": "mine"}}), "conversation.id"),
            (json!({"conversation_id": {}}), "conversation_id"),
            (json!({"inputs": []}), "inputs"),
            (json!({"inputs": [1]}), "inputs"),
            (json!({"metadata": [1]}), "metadata"),
            (json!({"metadata": {"task": [1]}}), "metadata.task"),
            (json!({"metadata": []}), "metadata"),
            (json!({"metadata": {"user_id": []}}), "metadata.user_id"),
            (json!({"metadata": {"chat_id": []}}), "metadata.chat_id"),
            (json!({"metadata": {"task": []}}), "metadata.task"),
            (json!({"metadata": {"conversation_id": 1}}), "metadata.conversation_id"),
        ] {
            let error = taken(body).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(place)));
        }
    }
}
