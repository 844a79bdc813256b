use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

use super::{KeepLast, Publisher, SourceState};
use crate::discovery::{
    DiscoveredSet, DnsError, Endpoint, EndpointState, MAX_ENDPOINTS, SourceError,
};

fn publisher(keep_last: KeepLast) -> (Publisher, watch::Receiver<SourceState>) {
    let (state, receiver) = watch::channel(SourceState::default());
    (Publisher { state, keep_last, last_good: None }, receiver)
}

fn set(count: usize) -> DiscoveredSet {
    let endpoint = |n| Endpoint {
        name: format!("api#{n}"),
        address: SocketAddr::from(([10, 0, 0, 1], 5001)),
        weight: 1,
        priority: 0,
        state: EndpointState::Ready,
        why: None,
    };
    DiscoveredSet { endpoints: (0..count).map(endpoint).collect(), notes: Vec::new() }
}

fn empty() -> DnsError {
    DnsError::Empty { name: "api.".to_owned() }
}

/// Whether the receiver was woken.
fn woken(receiver: &mut watch::Receiver<SourceState>) -> bool {
    let woken = receiver.has_changed().unwrap();
    receiver.mark_unchanged();
    woken
}

#[test]
fn only_what_is_new_wakes() {
    let (mut publisher, mut receiver) = publisher(KeepLast::Forever);
    publisher.succeeded(set(2));
    assert!(woken(&mut receiver));
    publisher.succeeded(set(2));
    assert!(!woken(&mut receiver), "the same set");
    publisher.failed(empty());
    assert!(woken(&mut receiver), "it began to fail");
    publisher.failed(empty());
    assert!(!woken(&mut receiver), "it fails as before");
    publisher.failed(DnsError::NoSuchName { name: "api.".to_owned() });
    assert!(woken(&mut receiver), "it fails in another way");
    publisher.succeeded(set(2));
    assert!(woken(&mut receiver), "it works again");
    publisher.succeeded(set(3));
    assert!(woken(&mut receiver), "another set");
}

#[test]
fn a_failure_keeps_the_last_set_and_is_said() {
    let (mut publisher, receiver) = publisher(KeepLast::Forever);
    publisher.succeeded(set(2));
    publisher.failed(empty());
    let state = receiver.borrow().clone();
    assert_eq!(state.set.as_deref(), Some(&set(2)));
    assert!(state.failing);
    assert_eq!(state.last_error.unwrap().error, SourceError::Dns(empty()));
    publisher.succeeded(set(1));
    let state = receiver.borrow().clone();
    assert!(!state.failing);
    assert!(state.last_error.is_some(), "what went wrong before can still be read");
}

#[test]
fn a_set_older_than_keep_last_is_given_up() {
    let (mut publisher, mut receiver) = publisher(KeepLast::For(Duration::ZERO));
    publisher.succeeded(set(2));
    woken(&mut receiver);
    publisher.failed(empty());
    assert!(woken(&mut receiver));
    let state = receiver.borrow().clone();
    assert!(state.set.unwrap().endpoints.is_empty());
    publisher.failed(empty());
    assert!(!woken(&mut receiver), "it is given up once");
}

#[test]
fn an_answer_that_cannot_be_meant_is_a_failure() {
    let (mut publisher, receiver) = publisher(KeepLast::Forever);
    publisher.succeeded(set(MAX_ENDPOINTS));
    publisher.succeeded(set(MAX_ENDPOINTS + 1));
    let state = receiver.borrow().clone();
    assert_eq!(state.set.unwrap().endpoints.len(), MAX_ENDPOINTS);
    assert_eq!(state.last_error.unwrap().error, SourceError::TooMany { count: MAX_ENDPOINTS + 1 });
}
