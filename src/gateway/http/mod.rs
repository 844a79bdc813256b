//! HTTP as it is on the wire, on both sides: heads and headers, framing, bodies, TLS streams, limits and
//! the state of a client's connection. It knows nothing of Dify, apps or instances.

pub mod body_memory;
pub(crate) mod buffered_body;
pub(crate) mod client_conn;
pub(crate) mod conn_limit;
pub(crate) mod early_error;
pub(crate) mod early_log;
pub(crate) mod errors;
pub(crate) mod framing;
pub(crate) mod h1;
pub(crate) mod head;
pub(crate) mod header_name;
pub(crate) mod headers;
pub(crate) mod hop_by_hop;
pub(crate) mod idle_timeout;
pub mod limits;
pub(crate) mod query;
pub(crate) mod request_body;
pub(crate) mod request_id;
pub(crate) mod send_state;
pub mod tls;
pub(crate) mod write_batch;
