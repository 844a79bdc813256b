//! How many connections the admin listener has at once, and which one gives way to a new one.
//!
//! Half of them are for clients that may ask by their address. At the limit, a new connection gets the
//! place of the one that has waited longest for its next request: whoever only holds connections open
//! keeps nobody out.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use super::access::Access;
use super::conn_state::{ConnState, Timeouts};
use super::visitor::Listener;
use crate::control::ADMIN_CONNECTIONS;

/// What a client's address says before the client has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Allowed,
    /// The client may show the token, or ask for what everybody may.
    Other,
}

impl Source {
    /// None for who can have no answer: `admin.allow` does not name it, and there is no token to show.
    pub(super) fn of(address: IpAddr, access: &Access) -> Option<Self> {
        if access.allows_address(address, Listener::Admin) {
            return Some(Self::Allowed);
        }
        (access.token.is_some() || access.allow.is_empty()).then_some(Self::Other)
    }
}

/// The connections that are open. They end with it.
pub(super) struct ConnLimit {
    timeouts: Timeouts,
    open: Vec<(Source, Weak<ConnState>)>,
}

impl ConnLimit {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, open: Vec::new() }
    }

    /// The state of a new connection; none if all others of its source have a request under way.
    pub(super) fn admit(&mut self, source: Source) -> Option<Arc<ConnState>> {
        self.open.retain(|(_, state)| state.strong_count() > 0);
        let same = self.open.iter().filter(|(of, _)| *of == source);
        let same: Vec<_> = same.filter_map(|(_, state)| state.upgrade()).collect();
        if same.len() >= ADMIN_CONNECTIONS / 2 {
            let waiting = same.iter().filter_map(|state| Some((state.waits_since()?, state)));
            let (_, longest) = waiting.min_by_key(|(since, _)| *since)?;
            longest.close();
            let closed = Arc::downgrade(longest);
            self.open.retain(|(_, state)| !state.ptr_eq(&closed));
        }
        let state = Arc::new(ConnState::new(self.timeouts));
        self.open.push((source, Arc::downgrade(&state)));
        Some(state)
    }
}

impl Drop for ConnLimit {
    fn drop(&mut self) {
        self.open.iter().filter_map(|(_, state)| state.upgrade()).for_each(|state| state.close());
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::{ADMIN_CONNECTIONS, Access, ConnLimit, Source};
    use crate::admin::conn_state::{Phase, TIMEOUTS};
    use crate::model::Token;

    #[test]
    fn who_can_have_no_answer_is_not_taken_in() {
        let allow = || vec!["10.0.0.0/8".parse().unwrap()];
        let token = || Some(Token::new("admin-secret"));
        let cases = [
            (None, vec![], [Some(Source::Allowed), Some(Source::Other), Some(Source::Other)]),
            (None, allow(), [Some(Source::Allowed), Some(Source::Allowed), None]),
            (token(), vec![], [Some(Source::Other); 3]),
            (token(), allow(), [Some(Source::Other), Some(Source::Allowed), Some(Source::Other)]),
        ];
        for (token, allow, expected) in cases {
            let access = Access { token, allow, hosts: Vec::new() };
            let sources = ["127.0.0.1", "10.1.2.3", "192.0.2.1"]
                .map(|address| Source::of(address.parse::<IpAddr>().unwrap(), &access));
            assert_eq!(sources, expected, "{access:?}");
        }
    }

    #[test]
    fn a_new_connection_gets_the_place_of_the_one_that_waited_longest() {
        let mut limit = ConnLimit::new(TIMEOUTS);
        let mut held = Vec::new();
        for _ in 0..ADMIN_CONNECTIONS / 2 {
            held.push(limit.admit(Source::Other).unwrap());
        }
        held[0].enter(Phase::Request);
        held.push(limit.admit(Source::Other).unwrap());
        assert!(!held[0].is_closed() && held[1].is_closed() && !held[2].is_closed());
        assert_eq!(limit.open.len(), ADMIN_CONNECTIONS / 2);
        // Those who may ask by their address have places of their own.
        for _ in 0..ADMIN_CONNECTIONS {
            held.push(limit.admit(Source::Allowed).unwrap());
        }
        assert_eq!(limit.open.len(), ADMIN_CONNECTIONS / 2 * 2);
        // Requests under way are not cut.
        held.iter().for_each(|state| state.enter(Phase::Request));
        assert!(limit.admit(Source::Allowed).is_none());
        // What has ended leaves its place.
        held.retain(|state| !state.is_closed());
        let ended = Arc::downgrade(&held.pop().unwrap());
        assert!(ended.upgrade().is_none());
        held.push(limit.admit(Source::Allowed).unwrap());
        drop(limit);
        assert!(held.iter().all(|state| state.is_closed()));
    }
}
