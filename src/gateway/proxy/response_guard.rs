//! A response that somebody is reading. If they stop, a run is seen out as its app says.

use std::rc::Rc;

use crate::gateway::proxy::orphan;
use crate::gateway::proxy::relay::Relay;
use crate::model::Reason;

/// An instance's response, in the hands of who passes it on.
pub(crate) struct ResponseGuard {
    /// None once it was given away.
    relay: Option<Box<Relay>>,
    afterwards: OnEnd,
}

/// What becomes of a response that was told whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnEnd {
    Nothing,
    DeleteConversation,
}

impl ResponseGuard {
    /// From here on somebody reads it.
    pub(crate) fn new(relay: Relay) -> Self {
        Self { relay: Some(Box::new(relay)), afterwards: OnEnd::Nothing }
    }

    /// The response; none once it was given away.
    pub(crate) fn get(&self) -> Option<&Relay> {
        self.relay.as_deref()
    }

    /// The response; none once it was given away.
    pub(crate) fn get_mut(&mut self) -> Option<&mut Relay> {
        self.relay.as_deref_mut()
    }

    /// When the client has the whole response, its conversation is of no more use.
    pub(crate) fn delete_afterwards(&mut self) {
        self.afterwards = OnEnd::DeleteConversation;
    }

    /// The client has all it is to have, and its request ends here. What Dify still sends is read in
    /// the background.
    pub(crate) fn settle(&mut self) {
        let Some(mut relay) = self.relay.take() else { return };
        relay.record.end(Reason::Answered);
        let worker = Rc::clone(&relay.worker);
        match self.afterwards {
            OnEnd::DeleteConversation => worker.adopt(orphan::delete_conversation(relay)),
            OnEnd::Nothing => relay.hold_rest(),
        }
    }

    /// The client has all that it wants, and the run goes on: it is stopped.
    pub(crate) fn cut_short(&mut self) {
        let Some(mut relay) = self.relay.take() else { return };
        relay.record.end(Reason::Answered);
        let worker = Rc::clone(&relay.worker);
        worker.adopt(orphan::end_run(relay));
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        let Some(mut relay) = self.relay.take().filter(|relay| !relay.is_over()) else { return };
        if relay.answered() {
            // It has all of the response.
            relay.hold_rest();
        } else if relay.leaving.is_some() {
            let worker = Rc::clone(&relay.worker);
            worker.adopt(orphan::finish(relay));
        }
    }
}
