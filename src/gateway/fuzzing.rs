//! What `fuzz/` needs of rooms that are closed to everybody else. Nothing in the program uses it.

mod h1;

use std::path::PathBuf;

use http::HeaderMap;
use http::request::Parts;

use crate::gateway::fuzzing::h1 as own;
pub use crate::gateway::fuzzing::h1::{Coming, Front, Lines, Seen, answer};
use crate::gateway::http::framing;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::hop_by_hop::Behind;
use crate::gateway::http::limits::Limits;

/// The headers of a request that go on to an instance; none if its head is refused.
pub fn passed_on(head: &Parts) -> Option<HeaderMap> {
    let head = RequestHead::of_parts(head.clone());
    framing::check(&head, &limits()).ok()?;
    let behind = Behind::of_request(&head.fields);
    let mut headers = HeaderMap::new();
    let on = head.fields.iter().filter(|field| !behind.has(field));
    on.for_each(|field| field.put(&mut headers));
    Some(headers)
}

/// What is read of a client's connection.
pub fn request(bytes: &[u8]) -> Front {
    own::request(bytes, &limits())
}

/// The defaults of what bounds a head.
fn limits() -> Limits {
    Limits {
        max_body_bytes: 1 << 20,
        client_body_bytes: 1 << 20,
        memory_body_bytes: 1 << 20,
        spool_dir: PathBuf::new(),
        header_bytes: 64 << 10,
        headers: 100,
        uri_bytes: 8 << 10,
        h2_streams: 128,
        body_rate: 0,
        min_answer_rate: 0,
        connections_per_address: None,
    }
}
