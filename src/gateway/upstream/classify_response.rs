//! Answers that must be understood before they are passed on: small ones in JSON, by which Dify says
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
use crate::gateway::http::head::AnswerHead;
use crate::gateway::http::header_name::Name;
use crate::gateway::http::headers::decimal;
use crate::gateway::state::member::Member;
use crate::gateway::upstream::attempt::{Answer, AnswerBody};
use crate::gateway::upstream::attempt_error::{AttemptError, chain};
use crate::gateway::upstream::conn_pool::{Connections, Inflow};
use crate::model::Reason;

/// The largest answer that is read here; refusals have some hundred bytes, the detail of a run that
/// is not there has about as many.
pub(crate) const MAX_BYTES: usize = 16 * 1024;
/// How long the head of a stream is held back that may say that a file is not there.
const PEEK: Duration = Duration::from_secs(5);
/// For the body of such an answer, which Dify sends in one piece with its head.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which answers matter to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Which call it is.
    pub kind: CallKind,
    /// It names an id of which one instance only knows.
    pub names_an_id: bool,
    /// It starts a run.
    pub starts_run: bool,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It is to be passed on.
    Fine,
    /// The instance does not have what the request names.
    NotHere,
    /// The instance takes no more runs of this app at the moment.
    Busy,
}

impl Look {
    /// Whether the head of an answer leaves it open what the answer says.
    fn must_read(self, head: &AnswerHead) -> bool {
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
    fn is_unknown_route(self, head: &AnswerHead) -> bool {
        let kind = head.fields.get(Name::ContentType);
        if self.names_an_id && is_unknown_link(self.kind, head.status.as_u16()) {
            return true;
        }
        self.names_an_id
            && head.status == StatusCode::NOT_FOUND
            && is_newer_route(self.kind)
            && kind.is_some_and(|kind| kind.starts_with(b"text/html"))
    }

    fn find(self, status: u16, body: &[u8]) -> Finding {
        match refusal(self.kind, status, body) {
            Some(KnownRefusal::NotHere) if self.names_an_id => Finding::NotHere,
            Some(KnownRefusal::Busy) if self.starts_run => Finding::Busy,
            _ if status == 200 && is_null_run(body) => Finding::NotHere,
            _ if may_be_unknown_code(self.kind, status) && is_unknown_code(body) => {
                Finding::NotHere
            }
            _ => Finding::Fine,
        }
    }
}

/// Reads an answer if that is needed to understand it, and says what it says.
///
/// # Errors
/// The answer broke off.
pub(crate) async fn inspect(
    answer: Box<Answer>,
    look: Look,
    member: &Member,
    connections: &Connections,
) -> Result<(Box<Answer>, Finding), AttemptError> {
    if look.is_unknown_route(&answer.head) {
        return Ok((answer, Finding::NotHere));
    }
    if !look.must_read(&answer.head) {
        return Ok((answer, Finding::Fine));
    }
    let answer = Box::pin(read(answer, member, connections, MAX_BYTES)).await?;
    let finding = match &answer.body {
        AnswerBody::Read(bytes) => look.find(answer.head.status.as_u16(), bytes),
        AnswerBody::Coming(..) => Finding::Fine,
    };
    Ok((answer, finding))
}

/// Reads an answer of up to `limit` bytes whole and keeps its connection.
///
/// # Errors
/// It broke off, or it is larger than it said.
pub(crate) async fn read(
    answer: Box<Answer>,
    member: &Member,
    connections: &Connections,
    limit: usize,
) -> Result<Box<Answer>, AttemptError> {
    let mut body = match answer.body {
        AnswerBody::Coming(body) => body,
        AnswerBody::Read(_) => return Ok(answer),
    };
    let bytes = collect(&mut body, limit)
        .await
        .map_err(|what| AttemptError::cut(Reason::InstanceClosed, member, &what))?;
    if let Some(connection) = body.into_connection() {
        connections.put(&member.instance, connection);
    }
    let (head, arrived, first_byte) = (answer.head, answer.arrived, answer.first_byte);
    Ok(Box::new(Answer { head, body: AnswerBody::Read(bytes), arrived, first_byte }))
}

/// Reads the beginning of a run's stream, up to the first event that is no ping, to see whether the
/// instance has the files of the turn. What was read stands before the rest of the answer.
///
/// # Errors
/// The stream broke off.
pub(crate) async fn peek(
    mut answer: Box<Answer>,
    member: &Member,
) -> Result<(Box<Answer>, Finding), AttemptError> {
    let is_stream = answer.head.fields.get(Name::ContentType);
    let is_stream = is_stream.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    let mut body = match answer.body {
        AnswerBody::Coming(body) if is_stream && answer.head.status == StatusCode::OK => body,
        _ => return Ok((answer, Finding::Fine)),
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
    answer.body = AnswerBody::Coming(body.with_first(pieces));
    let finding = if seen == FirstEvent::NoFile { Finding::NotHere } else { Finding::Fine };
    Ok((answer, finding))
}

async fn collect(body: &mut Inflow, limit: usize) -> Result<Bytes, String> {
    match timeout(PATIENCE, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) => Err(chain(error.as_ref())),
        Err(_) => Err(format!("silent for {} s", PATIENCE.as_secs())),
    }
}

fn is_small_json(head: &AnswerHead) -> bool {
    let length = head.fields.get(Name::ContentLength).and_then(decimal);
    let kind = head.fields.get(Name::ContentType);
    kind.is_some_and(|kind| kind.starts_with(b"application/json"))
        && length.is_some_and(|length| length <= MAX_BYTES as u64)
}
