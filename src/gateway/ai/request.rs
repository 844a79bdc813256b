//! A request of an AI client, and what became of it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::gateway::http::head::RequestHead;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::response_body::Outgoing;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

/// A request that has come to a door.
pub(crate) struct Arrival {
    /// Whose thread it is on.
    pub worker: Rc<Worker>,
    /// The configuration it goes by.
    pub snapshot: Arc<Snapshot>,
    /// Where the client is.
    pub address: IpAddr,
    /// What is written of it.
    pub record: Box<Record>,
    /// Its head.
    pub head: Rc<RequestHead>,
    /// The fields of it.
    pub headers: HeaderMap,
    /// Where the client found the gateway.
    pub own_url: Option<String>,
}

/// What became of a request.
pub(crate) enum Done {
    /// It is being answered.
    Answer(Response<Outgoing>),
    /// The gateway answers itself.
    Local(Box<Record>, Response<Bytes>),
    /// It went wrong.
    Error(Box<Record>, GatewayError),
}

/// An answer of the gateway's own, in JSON.
pub(crate) fn local(record: Box<Record>, json: Bytes) -> Done {
    let mut response = Response::new(json);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Done::Local(record, response)
}
