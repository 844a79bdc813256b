//! The transcript of a conversation, as Dify has it: for a client that goes on from one of its
//! earlier answers and sends no transcript itself.

use serde::Deserialize;
use uuid::Uuid;

use crate::adapter::{Message, Role};
use crate::dify::path::CallKind;
use crate::gateway::ai::dify_call::{Call, DifyCalls};
use crate::gateway::ai::upstream_error::of_answer;
use crate::model::GatewayError;

/// How many of the last messages are looked through; Dify gives no more at once.
const LIMIT: usize = 100;

#[derive(Deserialize)]
struct Messages {
    data: Vec<HistoryMessage>,
}

#[derive(Deserialize)]
struct HistoryMessage {
    id: String,
    #[serde(default)]
    created_at: i64,
    #[serde(default)]
    query: String,
    #[serde(default)]
    answer: String,
}

/// What was said in a conversation up to a message, that one included.
///
/// # Errors
/// Nobody who has the conversation answers. A message that is not among the last ones gives all that
/// is known.
pub(super) async fn transcript(
    calls: DifyCalls,
    conversation: Uuid,
    last: Uuid,
) -> (DifyCalls, Result<Vec<Message>, GatewayError>) {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("conversation_id", &conversation.to_string())
        .append_pair("user", &calls.user)
        .append_pair("limit", &LIMIT.to_string())
        .finish();
    let call = Call::get(format!("/v1/messages?{query}"), CallKind::Messages);
    let (calls, read) = calls.ask(call.naming([conversation])).await;
    let found = match read {
        Err(error) => Err(error),
        Ok(read) if read.status == 200 => Ok(said(&read.body, last)),
        Ok(read) => Err(of_answer(&read)),
    };
    (calls, found)
}

fn said(body: &[u8], last: Uuid) -> Vec<Message> {
    let Ok(Messages { mut data }) = serde_json::from_slice(body) else { return Vec::new() };
    data.sort_by_key(|message| message.created_at);
    if let Some(at) = data.iter().position(|message| Uuid::try_parse(&message.id) == Ok(last)) {
        data.truncate(at + 1);
    }
    let both = |message: HistoryMessage| {
        [Message::new(Role::User, message.query), Message::new(Role::Assistant, message.answer)]
    };
    data.into_iter().flat_map(both).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::said;

    #[test]
    fn the_transcript_ends_with_the_message_that_was_named() {
        let id = |number: u128| Uuid::from_u128(number);
        let message = |number: u128| {
            format!(
                r#"{{"id": "{}", "created_at": {number}, "query": "q{number}", "answer": "a{number}"}}"#,
                id(number)
            )
        };
        let body = format!(r#"{{"data": [{}, {}, {}]}}"#, message(3), message(1), message(2));
        let texts = |last| {
            let said = said(body.as_bytes(), last);
            said.into_iter().map(|saying| saying.text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(texts(id(2)), "q1 a1 q2 a2");
        assert_eq!(texts(id(9)), "q1 a1 q2 a2 q3 a3");
        assert_eq!(said(b"no", id(1)).len(), 0);
    }
}
