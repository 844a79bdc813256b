//! Sources of discovery in front of DNS servers and Docker engines that do as a test says.

mod dns;
mod dns_server;
mod docker;
mod engine;

use std::time::Duration;

use difygate::discovery::{SourceHandle, SourceState};
use tokio::time::timeout;

/// Waits until what is known of a source is so.
async fn until(source: &SourceHandle, is_so: impl Fn(&SourceState) -> bool) -> SourceState {
    let mut state = source.subscribe();
    let waited = timeout(Duration::from_secs(20), state.wait_for(|state| is_so(state))).await;
    match waited {
        Ok(state) => state.unwrap().clone(),
        Err(_) => panic!("it did not come to that: {:#?}", source.state()),
    }
}

/// A set in short: name, address, weight, priority and state of each endpoint.
fn short(state: &SourceState) -> Vec<String> {
    let endpoints = state.set.iter().flat_map(|set| &set.endpoints);
    endpoints
        .map(|e| {
            format!("{} {} {} {} {}", e.name, e.address, e.weight, e.priority, e.state.label())
        })
        .collect()
}

/// The addresses of a set.
fn addresses(state: &SourceState) -> Vec<String> {
    let endpoints = state.set.iter().flat_map(|set| &set.endpoints);
    endpoints.map(|endpoint| endpoint.address.to_string()).collect()
}
