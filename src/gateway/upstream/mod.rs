//! The way to an instance: connections, one attempt, what a response means, probes.

pub(crate) mod attempt;
pub(crate) mod attempt_error;
pub(crate) mod attempt_permit;
pub(crate) mod classify_response;
pub(crate) mod client_info;
pub(crate) mod conn_pool;
pub(crate) mod dial;
pub(crate) mod forwarding;
pub(crate) mod h1;
pub(crate) mod held_slot;
pub(crate) mod keyed_wait;
pub(crate) mod name_apps;
pub(crate) mod own_request;
pub(crate) mod probe;
pub(crate) mod probe_expect;
pub(crate) mod upstream_request;
pub(crate) mod worker;
