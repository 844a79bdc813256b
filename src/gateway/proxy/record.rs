//! One record per accepted request, kept with its response and written when that ends, however.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Version;
use jiff::Timestamp;

use crate::dify::path::without_secrets;
use crate::dify::response_body::Usage;
use crate::gateway::http::client_conn::ClientConn;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::gateway::state::tokens::Key;
use crate::gateway::upstream::worker::Worker;
use crate::model::{GatewayError, Reason};
use crate::telemetry::{self, Entry};

/// What nginx writes for a client that went away before its response.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Failed attempts that a record names.
const MAX_FAILED_ATTEMPTS: usize = 16;

/// An attempt without a response to pass on.
struct FailedAttempt {
    member: Arc<Member>,
    why: AttemptFailure,
}

/// Why an attempt gave no response to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptFailure {
    Failed(Reason),
    /// The instance does not have what the request names.
    NotHere,
}

impl AttemptFailure {
    fn label(self) -> &'static str {
        match self {
            Self::Failed(reason) => reason.label(),
            Self::NotHere => "not_here",
        }
    }
}

/// What is known of a request. Dropping it writes the access log's line and counts it.
pub(crate) struct Record {
    worker: Rc<Worker>,
    connection: Rc<ClientConn>,
    began: Instant,
    head: Rc<RequestHead>,
    client: IpAddr,
    request_id: RequestId,
    app: Option<Arc<App>>,
    key: Option<Arc<Key>>,
    user: Option<String>,
    member: Option<Arc<Member>>,
    failed_attempts: Vec<FailedAttempt>,
    bytes_in: u64,
    bytes_out: Cell<u64>,
    status: Option<u16>,
    first_byte: Option<Duration>,
    usage: Option<Usage>,
    reason: Option<Reason>,
    detail: Option<String>,
}

impl Record {
    /// Begins with the request's head.
    pub(crate) fn begin(
        worker: &Rc<Worker>,
        connection: &Rc<ClientConn>,
        head: &Rc<RequestHead>,
        client: IpAddr,
        request_id: RequestId,
    ) -> Box<Self> {
        worker.shared().stats.in_flight.rise();
        // On the heap from the beginning: it travels through many hands.
        Box::new(Self {
            worker: Rc::clone(worker),
            connection: Rc::clone(connection),
            began: Instant::now(),
            head: Rc::clone(head),
            client,
            request_id,
            app: None,
            key: None,
            user: None,
            member: None,
            failed_attempts: Vec::new(),
            bytes_in: 0,
            bytes_out: Cell::new(0),
            status: None,
            first_byte: None,
            usage: None,
            reason: None,
            detail: None,
        })
    }

    /// `X-Request-ID`.
    pub(crate) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// The request's head as it came.
    pub(crate) fn head(&self) -> &Rc<RequestHead> {
        &self.head
    }

    /// The request is for this app.
    pub(crate) fn caller_known(&mut self, app: &Arc<App>) {
        self.app = Some(Arc::clone(app));
    }

    pub(crate) fn came_by(&mut self, key: &Arc<Key>) {
        self.key = Some(Arc::clone(key));
    }

    /// The key that it came by.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_deref()
    }

    /// The body is complete and has named this user.
    pub(crate) fn body_read(&mut self, user: Option<String>, bytes: u64) {
        self.user = user;
        self.bytes_in = bytes;
    }

    /// The user, as Dify will know it.
    pub(crate) fn named(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// An attempt gave no response to pass on.
    pub(crate) fn attempt_failed(&mut self, member: &Arc<Member>, why: AttemptFailure) {
        // One that is waited for may fail many times.
        if self.failed_attempts.len() < MAX_FAILED_ATTEMPTS {
            self.failed_attempts.push(FailedAttempt { member: Arc::clone(member), why });
        }
    }

    /// An instance's response, that came then, is passed on from here.
    pub(crate) fn answered(&mut self, member: &Arc<Member>, status: u16, arrived: Instant) {
        member.stats.requests.add_one();
        self.member = Some(Arc::clone(member));
        self.status = Some(status);
        self.first_byte = Some(arrived.saturating_duration_since(self.began));
    }

    /// The head of a response of an AI client goes out.
    pub(crate) fn status(&mut self, status: u16) {
        self.head_sent(status);
    }

    pub(crate) fn local(&mut self, status: u16) {
        self.head_sent(status);
        // The admin refuses only those who may not ask.
        self.end(if status == 403 { Reason::Forbidden } else { Reason::Local });
    }

    /// The client is told what went wrong, with that status.
    pub(crate) fn failed(&mut self, error: &GatewayError, status: u16) {
        self.head_sent(status);
        if error.detail.is_some() {
            self.detail.clone_from(&error.detail);
        }
        self.end(error.reason);
    }

    /// A member has answered at a route, and not with what was asked for.
    pub(crate) fn refused_by(&mut self, member: &Arc<Member>, status: u16) {
        self.member = Some(Arc::clone(member));
        self.note(format!("{} answered {status}", member.name()));
    }

    /// Bytes of the response's body went out.
    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    pub(crate) fn used(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// How it ends. The first word counts.
    pub(crate) fn end(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    pub(crate) fn note(&mut self, detail: String) {
        self.detail = Some(detail);
    }

    /// More for the operator, if nothing was said yet.
    pub(crate) fn note_if_none(&mut self, detail: &str) {
        self.detail.get_or_insert_with(|| detail.to_owned());
    }

    /// Something beside what was said for the operator.
    pub(crate) fn note_more(&mut self, detail: &str) {
        let said = self.detail.take();
        self.detail = Some(said.map_or(detail.to_owned(), |said| format!("{said}; {detail}")));
    }

    /// Dify's words for what went wrong, beside what was said already.
    pub(crate) fn explain(&mut self, why: &str) {
        match &mut self.detail {
            Some(said) if said.contains(why) => {}
            Some(said) => {
                said.push_str(": ");
                said.push_str(why);
            }
            None => self.detail = Some(why.to_owned()),
        }
    }

    fn head_sent(&mut self, status: u16) {
        self.status = Some(status);
        self.first_byte = Some(self.began.elapsed());
    }

    fn write(&self, status: u16, reason: Reason, took: Duration) {
        if !self.worker.batch().borrow().is_written() {
            return;
        }
        // When it began, and a look at this clock only where somebody wants to know.
        let time = Timestamp::now().checked_sub(took).unwrap_or_default();
        let RequestHead { method, uri, version, headers } = &*self.head;
        let (user_agent, referer) =
            (headers.get(KnownHeader::UserAgent), headers.get(KnownHeader::Referer));
        let millis = |took: Duration| took.as_micros() as f64 / 1000.0;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = without_secrets(path);
        let referer = referer.map(String::from_utf8_lossy);
        let failed = self.failed_attempts.iter().map(|FailedAttempt { member, why }| {
            telemetry::FailedAttempt { instance: member.name().as_str(), why: why.label() }
        });
        self.worker.batch().borrow_mut().push(&Entry {
            time,
            request_id: self.request_id.as_str(),
            client: self.client,
            method: method.as_str(),
            path: &path,
            status,
            reason: reason.label(),
            app: self.app.as_ref().map(|app| app.name.as_str()).filter(|name| !name.is_empty()),
            key: self.key().map(|key| &*key.name),
            user: self.user.as_deref(),
            instance: self.member.as_ref().map(|member| member.name().as_str()),
            failed_attempts: &failed.collect::<Vec<_>>(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out.get(),
            prompt_tokens: self.usage.map(|usage| usage.prompt_tokens),
            completion_tokens: self.usage.map(|usage| usage.completion_tokens),
            total_tokens: self.usage.map(|usage| usage.total_tokens),
            first_byte_ms: self.first_byte.map(millis),
            duration_ms: millis(took),
            detail: self.detail.as_deref(),
            protocol: match *version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            referer: referer.as_deref().map(without_secrets).as_deref(),
            user_agent: user_agent.map(String::from_utf8_lossy).as_deref(),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let status = self.status.unwrap_or(CLIENT_CLOSED_REQUEST);
        let reason = self.reason.unwrap_or(Reason::ClientGone);
        let stats = &self.worker.shared().stats;
        stats.in_flight.fall();
        stats.by_reason[reason as usize].add_one();
        if let Some(app) = &self.app {
            app.stats.duration.observe(took);
            let class = usize::from(status / 100).clamp(1, 5) - 1;
            app.stats.by_class[class].add_one();
        }
        self.write(status, reason, took);
        self.connection.end_exchange(self.worker.clock().get());
    }
}
