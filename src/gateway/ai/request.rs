//! A request of an AI client, and what became of it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::gateway::http::head::RequestHead;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::response_body::ResponseBody;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

/// A request that has come to a route.
pub(crate) struct AiRequest {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub address: IpAddr,
    pub record: Box<Record>,
    pub head: Rc<RequestHead>,
    pub headers: HeaderMap,
    /// Where the client found the gateway.
    pub own_url: Option<String>,
}

pub(crate) enum AiResponse {
    Answer(Response<ResponseBody>),
    Local(Box<Record>, Response<Bytes>),
    Error(Box<Record>, GatewayError),
}

/// An answer of the gateway's own, in JSON.
pub(crate) fn local(record: Box<Record>, json: Bytes) -> AiResponse {
    let mut response = Response::new(json);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    AiResponse::Local(record, response)
}
