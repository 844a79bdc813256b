//! How far a request is, seen from outside of the future that carries it.
//!
//! A run goes on when its client goes away (`outlive`), but only from the moment at which an instance
//! may have it; and whoever carries it must know that nobody waits any more.

use std::cell::Cell;
use std::rc::Rc;

/// How far a request is. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Rc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    sent: Cell<bool>,
    taken: Cell<bool>,
    gone: Cell<bool>,
}

impl Progress {
    /// An attempt begins: from now on the instance may get the request.
    pub(crate) fn begin(&self) {
        self.0.sent.set(true);
        self.0.taken.set(false);
    }

    /// The instance has nothing of it, for certain.
    pub(crate) fn take_back(&self) {
        self.0.sent.set(false);
    }

    /// Whether an instance may have the request.
    pub(crate) fn is_sent(&self) -> bool {
        self.0.sent.get()
    }

    /// The whole body has been handed to the connection.
    pub(crate) fn body_taken(&self) {
        self.0.taken.set(true);
    }

    /// Whether it has.
    pub(crate) fn is_body_taken(&self) -> bool {
        self.0.taken.get()
    }

    /// The client went away.
    pub(crate) fn client_gone(&self) {
        self.0.gone.set(true);
    }

    /// Whether it did.
    pub(crate) fn is_client_gone(&self) -> bool {
        self.0.gone.get()
    }
}
