//! What the gateway asks of its own accord, beside what clients ask: probes and the names of apps.

use std::io;

use http::{HeaderMap, Method};

use crate::gateway::upstream::h1::SendError;

/// What the gateway calls itself.
pub(super) const USER_AGENT_NAME: &str = concat!("difygate/", env!("CARGO_PKG_VERSION"));

/// What Dify answers from its database to any app's key.
pub(super) const KEYED_PATH: &str = "/v1/info";

/// Why there is no response.
pub(super) fn unanswered(error: SendError) -> io::Error {
    io::Error::other(match error {
        SendError::Closed(what) | SendError::Broken(what) => what,
        SendError::Garbled(what) => what.to_owned(),
        SendError::Late => "no answer in time".to_owned(),
    })
}

/// Writes a head; the path is the instance's base path and what is asked for below it.
pub(super) fn write_request_head(
    method: &Method,
    [base_path, path]: [&str; 2],
    headers: &HeaderMap,
    out: &mut Vec<u8>,
) {
    let line = [method.as_str(), " ", base_path, path, " HTTP/1.1\r\n"];
    line.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    for (name, value) in headers {
        let field = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
        field.iter().for_each(|part| out.extend_from_slice(part));
    }
    out.extend_from_slice(b"\r\n");
}
