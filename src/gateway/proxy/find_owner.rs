//! Which requests go to nobody before it is known who has what they name.
//!
//! A turn of a conversation: newer Dify would begin another one. Whatever may change a dataset: it must not
//! be sent on a guess. What only reads is asked around for by `forward`, one instance after the other.

use http::{HeaderValue, Method};
use uuid::Uuid;

use crate::affinity::Scope;
use crate::dify::path::{CallKind, Run};
use crate::gateway::http::buffered_body::Kept;
use crate::gateway::proxy::exchange::Journey;
use crate::gateway::proxy::locate::Wanted;
use crate::gateway::proxy::select::Tie;
use crate::gateway::upstream::upstream_request::{Key, Outbound};
use crate::model::GatewayError;

impl Journey {
    /// Finds out who has the conversation of a turn, or the dataset that the request acts on, if that is
    /// not known.
    ///
    /// # Errors
    /// Somebody who may have it cannot be asked; too many searches are under way.
    pub(crate) async fn find_owner(&mut self) -> Result<(), GatewayError> {
        if self.candidates.tie() == Tie::Owner || !self.candidates.are_independent() {
            return Ok(());
        }
        if self.acts_on_a_dataset() {
            return Box::pin(self.find_dataset()).await;
        }
        match self.claims.conversation {
            // Without a user Dify says 400, whoever is asked.
            Some(id) if self.run == Some(Run::Chat) && self.user_in_body.is_some() => {
                Box::pin(self.find_conversation(id)).await
            }
            _ => Ok(()),
        }
    }

    /// Whether it may do more to a dataset than show it.
    pub(crate) fn acts_on_a_dataset(&self) -> bool {
        self.kind == CallKind::Datasets && !self.outbound.is_idempotent()
    }

    /// Asks all instances for the conversation of a turn.
    ///
    /// # Errors
    /// As of [`find_owner`](Self::find_owner).
    pub(crate) async fn find_conversation(&mut self, id: Uuid) -> Result<(), GatewayError> {
        let user = self.user_in_body.as_deref().unwrap_or_default();
        let scope = Scope::new(self.app.name.as_str(), user);
        let question = self.get(&messages_of(id, user));
        self.search(Wanted { id, scope, kind: CallKind::Messages, question }).await
    }

    /// The knowledge API knows no users: all clients of an app count as one.
    async fn find_dataset(&mut self) -> Result<(), GatewayError> {
        let Some(id) = self.claims.ids().first().copied() else { return Ok(()) };
        let scope = Scope::new(self.app.name.as_str(), "");
        let mut question = self.get(&format!("/v1/datasets/{id}"));
        question.use_key(Key::Datasets);
        self.search(Wanted { id, scope, kind: CallKind::Datasets, question }).await
    }

    fn get(&self, path: &str) -> Outbound {
        let json = HeaderValue::from_static("application/json");
        Outbound::own(Method::GET, path, json, Kept::EMPTY, self.record.request_id())
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
