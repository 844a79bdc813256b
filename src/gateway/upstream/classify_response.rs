//! Responses that must be understood before they are passed on: small ones in JSON, by which Dify says
//! that it does not have what the request names, or that it is busy.
//!
//! Dify refuses both before it does anything, so the same request may go to another instance.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout, timeout_at};

use crate::dify::path::CallKind;
use crate::dify::response_body::{
    FirstEvent, KnownRefusal, first_event, is_newer_route, is_null_run, is_unknown_code,
    is_unknown_link, may_be_unknown_code, refusal,
};
use crate::gateway::http::head::ResponseHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::headers::decimal;
use crate::gateway::state::member::Member;
use crate::gateway::upstream::attempt::{AttemptBody, AttemptResponse};
use crate::gateway::upstream::attempt_error::{AttemptError, chain};
use crate::gateway::upstream::conn_pool::{ConnectionPool, UpstreamBody};
use crate::model::Reason;

/// The largest answer that is read here; refusals have some hundred bytes, the detail of a run that
/// is not there has about as many.
pub(crate) const MAX_BYTES: usize = 16 * 1024;
/// How long the head of a stream is held back that may say that a file is not there.
const PEEK: Duration = Duration::from_secs(5);
/// For the body of such a response, which Dify sends in one piece with its head.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which answers matter to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inspection {
    pub kind: CallKind,
    /// It names an id of which one instance only knows.
    pub names_an_id: bool,
    pub starts_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseClass {
    /// It is to be passed on.
    Fine,
    /// The instance does not have what the request names.
    NotHere,
    /// The instance takes no more runs of this app at the moment.
    Busy,
}

impl Inspection {
    /// Whether the head of a response leaves it open what the response says.
    fn must_read(self, head: &ResponseHead) -> bool {
        let matters = match head.status.as_u16() {
            404 => self.names_an_id,
            400 => self.names_an_id || self.starts_run,
            // Dify up to 1.12 answers with nulls when it does not have the run.
            200 => self.kind == CallKind::WorkflowRunDetail && self.names_an_id,
            status => self.names_an_id && may_be_unknown_code(self.kind, status),
        };
        matters && is_small_json(head)
    }

    /// Whether the head alone says that the instance does not have what the request names.
    fn is_unknown_route(self, head: &ResponseHead) -> bool {
        let kind = head.headers.get(KnownHeader::ContentType);
        if self.names_an_id && is_unknown_link(self.kind, head.status.as_u16()) {
            return true;
        }
        self.names_an_id
            && head.status == StatusCode::NOT_FOUND
            && is_newer_route(self.kind)
            && kind.is_some_and(|kind| kind.starts_with(b"text/html"))
    }

    fn find(self, status: u16, body: &[u8]) -> ResponseClass {
        match refusal(self.kind, status, body) {
            Some(KnownRefusal::NotHere) if self.names_an_id => ResponseClass::NotHere,
            Some(KnownRefusal::Busy) if self.starts_run => ResponseClass::Busy,
            _ if status == 200 && is_null_run(body) => ResponseClass::NotHere,
            _ if may_be_unknown_code(self.kind, status) && is_unknown_code(body) => {
                ResponseClass::NotHere
            }
            _ => ResponseClass::Fine,
        }
    }
}

/// Reads a response if that is needed to understand it, and says what it says.
///
/// # Errors
/// The response broke off.
pub(crate) async fn classify(
    response: Box<AttemptResponse>,
    look: Inspection,
    member: &Member,
    connections: &ConnectionPool,
) -> Result<(Box<AttemptResponse>, ResponseClass), AttemptError> {
    if look.is_unknown_route(&response.head) {
        return Ok((response, ResponseClass::NotHere));
    }
    if !look.must_read(&response.head) {
        return Ok((response, ResponseClass::Fine));
    }
    let response = Box::pin(read(response, member, connections, MAX_BYTES)).await?;
    let finding = match &response.body {
        AttemptBody::Read(bytes) => look.find(response.head.status.as_u16(), bytes),
        AttemptBody::Coming(..) => ResponseClass::Fine,
    };
    Ok((response, finding))
}

/// Reads a response of up to `limit` bytes whole and keeps its connection.
///
/// # Errors
/// It broke off, or it is larger than it said.
pub(crate) async fn read(
    response: Box<AttemptResponse>,
    member: &Member,
    connections: &ConnectionPool,
    limit: usize,
) -> Result<Box<AttemptResponse>, AttemptError> {
    let mut body = match response.body {
        AttemptBody::Coming(body) => body,
        AttemptBody::Read(_) => return Ok(response),
    };
    let bytes = collect(&mut body, limit)
        .await
        .map_err(|what| AttemptError::cut(Reason::InstanceClosed, member, &what))?;
    if let Some(connection) = body.into_connection() {
        connections.put(&member.instance, connection);
    }
    let (head, arrived, first_byte) = (response.head, response.arrived, response.first_byte);
    Ok(Box::new(AttemptResponse { head, body: AttemptBody::Read(bytes), arrived, first_byte }))
}

/// Reads the beginning of a run's stream, up to the first event that is no ping, to see whether the
/// instance has the files of the turn. What was read stands before the rest of the response.
///
/// # Errors
/// The stream broke off.
pub(crate) async fn peek(
    mut response: Box<AttemptResponse>,
    member: &Member,
) -> Result<(Box<AttemptResponse>, ResponseClass), AttemptError> {
    let is_stream = response.head.headers.get(KnownHeader::ContentType);
    let is_stream = is_stream.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    let mut body = match response.body {
        AttemptBody::Coming(body) if is_stream && response.head.status == StatusCode::OK => body,
        _ => return Ok((response, ResponseClass::Fine)),
    };
    let (mut pieces, mut begin) = (VecDeque::new(), Vec::new());
    let until = Instant::now() + PEEK;
    let mut seen = FirstEvent::Pending;
    while seen == FirstEvent::Pending && begin.len() < MAX_BYTES {
        let frame = match timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            // The end, or a run that waits for its turn: what follows is the client's to see.
            Ok(None) | Err(_) => break,
            Ok(Some(Err(error))) => {
                let what = chain(error.as_ref());
                return Err(AttemptError::cut(Reason::InstanceClosed, member, &what));
            }
        };
        if let Ok(piece) = frame.into_data() {
            begin.extend_from_slice(&piece);
            pieces.push_back(piece);
            seen = first_event(&begin);
        }
    }
    response.body = AttemptBody::Coming(body.with_first(pieces));
    let finding =
        if seen == FirstEvent::NoFile { ResponseClass::NotHere } else { ResponseClass::Fine };
    Ok((response, finding))
}

async fn collect(body: &mut UpstreamBody, limit: usize) -> Result<Bytes, String> {
    match timeout(PATIENCE, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) => Err(chain(error.as_ref())),
        Err(_) => Err(format!("silent for {} s", PATIENCE.as_secs())),
    }
}

fn is_small_json(head: &ResponseHead) -> bool {
    let length = head.headers.get(KnownHeader::ContentLength).and_then(decimal);
    let kind = head.headers.get(KnownHeader::ContentType);
    kind.is_some_and(|kind| kind.starts_with(b"application/json"))
        && length.is_some_and(|length| length <= MAX_BYTES as u64)
}
