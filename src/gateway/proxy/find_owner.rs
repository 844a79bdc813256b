//! Which requests go to nobody before it is known who has what they name.
//!
//! A turn of a conversation: newer Dify would begin another one. Whatever may change a dataset: it must not
//! be sent on a guess. What only reads is asked around for by `forward`, one instance after the other.

use http::{HeaderValue, Method};
use uuid::Uuid;

use crate::affinity::Scope;
use crate::dify::path::{CallKind, Run};
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::Exchange;
use crate::gateway::proxy::locate::SearchedId;
use crate::gateway::proxy::select::Binding;
use crate::gateway::upstream::upstream_request::{Credential, UpstreamRequest};
use crate::model::GatewayError;

impl Exchange {
    /// Waits for the turn before in the same conversation, where the app wants that.
    pub(crate) async fn take_turn(&mut self) -> Result<(), GatewayError> {
        let Some(call) = &mut self.call else { return Ok(()) };
        let (Some(turns), Some(conversation), Some(_)) =
            (&call.app.policy.turns, call.resource_ids.conversation, call.run)
        else {
            return Ok(());
        };
        let members = self.candidates.pool().members.iter();
        let patience = members.map(|member| member.queue.timeout).max().unwrap_or_default();
        call.turn = Box::pin(turns.take(conversation, patience)).await;
        match call.turn {
            Some(_) => Ok(()),
            None => Err(errors::turn_taken(conversation, patience)),
        }
    }

    /// Finds out who has the conversation of a turn, or the dataset that the request acts on, if that is
    /// not known.
    ///
    /// # Errors
    /// Somebody who may have it cannot be asked; too many searches are under way.
    pub(crate) async fn find_owner(&mut self) -> Result<(), GatewayError> {
        if self.candidates.binding() == Binding::Owner || !self.candidates.are_independent() {
            return Ok(());
        }
        let Some(call) = &self.call else { return Ok(()) };
        if call.acts_on_a_dataset(&self.outbound) {
            return Box::pin(self.find_dataset()).await;
        }
        match call.resource_ids.conversation {
            // Without a user Dify says 400, whoever is asked.
            Some(id) if call.run == Some(Run::Chat) && call.user_in_body.is_some() => {
                Box::pin(self.find_conversation(id)).await
            }
            _ => Ok(()),
        }
    }

    /// Asks all instances for the conversation of a turn.
    ///
    /// # Errors
    /// As of [`find_owner`](Self::find_owner).
    pub(crate) async fn find_conversation(&mut self, id: Uuid) -> Result<(), GatewayError> {
        let Some(call) = &self.call else { return Ok(()) };
        let user = call.user_in_body.as_deref().unwrap_or_default();
        let scope = Scope::new(call.app.name.as_str(), user);
        let question = self.get(&messages_of(id, user));
        self.search(SearchedId { id, scope, kind: CallKind::Messages, question }).await
    }

    /// The knowledge API knows no users: all clients of an app count as one.
    async fn find_dataset(&mut self) -> Result<(), GatewayError> {
        let Some(call) = &self.call else { return Ok(()) };
        let Some(id) = call.resource_ids.ids().first().copied() else { return Ok(()) };
        let scope = Scope::new(call.app.name.as_str(), "");
        let mut question = self.get(&format!("/v1/datasets/{id}"));
        question.use_key(Credential::Datasets);
        self.search(SearchedId { id, scope, kind: CallKind::Datasets, question }).await
    }

    fn get(&self, path: &str) -> UpstreamRequest {
        let json = HeaderValue::from_static("application/json");
        UpstreamRequest::own(Method::GET, path, json, BufferedBody::EMPTY, self.record.request_id())
    }
}

/// The GET that only who has a conversation answers with 200, in all versions.
fn messages_of(conversation: Uuid, user: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("conversation_id", &conversation.to_string())
        .append_pair("user", user)
        .append_pair("limit", "1")
        .finish();
    format!("/v1/messages?{query}")
}

#[cfg(test)]
mod tests {
    use super::messages_of;

    #[test]
    fn a_user_is_escaped_in_the_query() {
        let path = messages_of(uuid::Uuid::nil(), "a&b=c d/\u{e9}");
        assert!(path.ends_with("&user=a%26b%3Dc+d%2F%C3%A9&limit=1"), "{path}");
    }
}
