//! An answer that somebody is reading. If they stop, a run is seen out as its app says.

use std::rc::Rc;

use crate::gateway::proxy::orphan;
use crate::gateway::proxy::relay::Relay;
use crate::model::Reason;

/// An instance's answer, in the hands of who passes it on.
pub(crate) struct Coming {
    /// None once it was given away.
    relay: Option<Box<Relay>>,
    afterwards: Afterwards,
}

/// What becomes of an answer that was told whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    Nothing,
    DeleteConversation,
}

impl Coming {
    /// From here on somebody reads it.
    pub(crate) fn new(relay: Relay) -> Self {
        Self { relay: Some(Box::new(relay)), afterwards: Afterwards::Nothing }
    }

    /// The answer; none once it was given away.
    pub(crate) fn get(&self) -> Option<&Relay> {
        self.relay.as_deref()
    }

    /// The answer; none once it was given away.
    pub(crate) fn get_mut(&mut self) -> Option<&mut Relay> {
        self.relay.as_deref_mut()
    }

    /// When the client has the whole answer, its conversation is of no more use.
    pub(crate) fn delete_afterwards(&mut self) {
        self.afterwards = Afterwards::DeleteConversation;
    }

    /// The client has all it is to have, and its request ends here. What Dify still sends is read in
    /// the background.
    pub(crate) fn settle(&mut self) {
        let Some(mut relay) = self.relay.take() else { return };
        relay.record.end(Reason::Answered);
        let worker = Rc::clone(&relay.worker);
        match self.afterwards {
            Afterwards::DeleteConversation => worker.adopt(orphan::delete_conversation(relay)),
            Afterwards::Nothing => relay.hold_rest(),
        }
    }

    /// The client has all that it wants, and the run goes on: it is stopped.
    pub(crate) fn cut_short(&mut self) {
        let Some(mut relay) = self.relay.take() else { return };
        relay.record.end(Reason::Answered);
        let worker = Rc::clone(&relay.worker);
        worker.adopt(orphan::cut_short(relay));
    }
}

impl Drop for Coming {
    /// The client went away.
    fn drop(&mut self) {
        let Some(mut relay) = self.relay.take().filter(|relay| !relay.is_over()) else { return };
        if relay.answered() {
            // It has all of the answer.
            relay.hold_rest();
        } else if relay.leaving.is_some() {
            let worker = Rc::clone(&relay.worker);
            worker.adopt(orphan::see_out(relay));
        }
    }
}
