//! A request with a key that waits for a first byte: what [`KeyedStall`] hears of it.
//!
//! [`KeyedStall`]: crate::balance::KeyedStall

use crate::gateway::state::instance::{Headroom, Instance};
use crate::gateway::state::member::Member;
use crate::gateway::state::shared::Shared;
use crate::gateway::upstream::attempt::AttemptResponse;
use crate::gateway::upstream::attempt_error::AttemptError;
use crate::model::Reason;

/// A request that waits for a first byte, counted until dropped.
pub(crate) struct KeyedWait<'a> {
    /// None for a request without a key.
    instance: Option<&'a Instance>,
    began_ms: u64,
    room: Headroom,
}

impl<'a> KeyedWait<'a> {
    /// A request is about to be sent to a member, which has so much room.
    pub(crate) fn new(member: &'a Member, room: Headroom, now_ms: u64) -> Self {
        let instance = member.authorization.as_ref().map(|_| &*member.instance);
        if let Some(instance) = instance {
            instance.silence().began(now_ms);
        }
        Self { instance, began_ms: now_ms, room }
    }

    /// What came of it. Gives the moment of its response; 0 without one.
    pub(crate) fn over(
        self,
        done: Result<&AttemptResponse, &AttemptError>,
        is_get: bool,
        shared: &Shared,
    ) -> u64 {
        let response = match done {
            Ok(response) => response,
            Err(error) => {
                self.failed(error, is_get);
                return 0;
            }
        };
        let arrived_ms = shared.ms_at(response.arrived.into_std());
        if let Some(instance) = self.instance {
            instance.silence().answered(arrived_ms);
        }
        arrived_ms
    }

    /// It has got no response. A GET that waited in vain for its response says something, unless the instance
    /// may have had no room for it.
    fn failed(self, error: &AttemptError, is_get: bool) {
        let is_late = is_get && error.reason == Reason::InstanceTimeout;
        if let Some(instance) = self.instance.filter(|_| is_late && self.room != Headroom::Last) {
            instance.silence().late_get(self.began_ms);
        }
    }
}

impl Drop for KeyedWait<'_> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance {
            instance.silence().ended();
        }
    }
}
