//! A response to a client: the gateway's own, or an instance's with some headers of the gateway's.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use smallvec::SmallVec;

use crate::dify::response_body::explanation;
use crate::gateway::http::head::ResponseHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::headers::{Header, Headers, decimal};
use crate::gateway::http::hop_by_hop::StrippedHeaders;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::proxy::exchange::{Exchange, UpstreamResponse};
use crate::gateway::proxy::relay::{Relay, Source};
use crate::gateway::proxy::response_body::ResponseBody;
use crate::gateway::proxy::response_guard::ResponseGuard;
use crate::gateway::upstream::attempt::{AttemptBody, AttemptResponse};
use crate::model::Reason;

/// A response on its way to a client.
pub(crate) struct ProxyResponse {
    /// On the heap, as it goes through many hands.
    pub(crate) head: Box<ProxyResponseHead>,
    pub(crate) body: ResponseBody,
}

pub(crate) struct ProxyResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) closes: bool,
    /// Headers of an instance's response, and which of them the client does not get.
    passed: Headers,
    stripped: StrippedHeaders,
    /// The gateway's own beside those.
    request_id: Option<RequestId>,
    added: SmallVec<[(KnownHeader, HeaderValue); 1]>,
    /// All headers of a response of the gateway's own.
    own: HeaderMap,
}

impl ProxyResponseHead {
    /// That of an instance's response, as it goes on.
    pub(crate) fn passing(head: ResponseHead) -> Self {
        let ResponseHead { status, headers: passed, .. } = head;
        let stripped = StrippedHeaders::of_answer(&passed);
        let (request_id, added, own) = Default::default();
        Self { status, closes: false, passed, stripped, request_id, added, own }
    }

    /// Adds the request's id in place of the instance's.
    pub(crate) fn identify(&mut self, id: RequestId) {
        self.stripped.add(KnownHeader::RequestId);
        self.request_id = Some(id);
    }

    /// Adds a field in place of the instance's of that name.
    pub(crate) fn replace(&mut self, name: KnownHeader, value: HeaderValue) {
        self.stripped.add(name);
        self.added.push((name, value));
    }

    /// What `Content-Length` says.
    pub(crate) fn length(&self) -> Option<u64> {
        let mut passed = self.passing_on().filter(|field| field.name == KnownHeader::ContentLength);
        match passed.next() {
            Some(field) => decimal(field.value),
            None => decimal(self.own.get(CONTENT_LENGTH)?.as_bytes()),
        }
    }

    /// The headers that the client gets, by name and value.
    pub(crate) fn each(&self, mut put: impl FnMut(&[u8], &[u8])) {
        self.passing_on().for_each(|field| put(field.spelt, field.value));
        if let Some(id) = &self.request_id {
            put(KnownHeader::RequestId.text().as_bytes(), id.as_str().as_bytes());
        }
        for (name, value) in &self.added {
            put(name.text().as_bytes(), value.as_bytes());
        }
        for (name, value) in &self.own {
            put(name.as_str().as_bytes(), value.as_bytes());
        }
    }

    fn passing_on(&self) -> impl Iterator<Item = Header<'_>> {
        self.passed.iter().filter(|field| !self.stripped.has(field))
    }
}

impl ProxyResponse {
    /// For HTTP/2.
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let Self { head, body } = self;
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        let headers = response.headers_mut();
        *headers = head.own;
        let passing_on = head.passed.iter().filter(|field| !head.stripped.has(field));
        passing_on.for_each(|field| field.put(headers));
        if let Some(id) = head.request_id {
            headers.append(KnownHeader::RequestId.header(), id.header());
        }
        for (name, value) in head.added {
            headers.append(name.header(), value);
        }
        if head.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Response<ResponseBody>> for ProxyResponse {
    fn from(response: Response<ResponseBody>) -> Self {
        let (head, body) = response.into_parts();
        let (passed, stripped, request_id, added) = Default::default();
        let (status, own) = (head.status, head.headers);
        let closes = false;
        let head = Box::new(ProxyResponseHead {
            status,
            closes,
            passed,
            stripped,
            request_id,
            added,
            own,
        });
        Self { head, body }
    }
}

/// Makes the client's response out of an instance's.
pub(crate) fn open(mut exchange: Box<Exchange>, forwarded: UpstreamResponse) -> ProxyResponse {
    let UpstreamResponse { member, response, flight, conversation } = forwarded;
    let AttemptResponse { head, body, arrived, first_byte } = *response;
    let record = &mut exchange.record;
    record.answered(&member, head.status.as_u16(), arrived.into_std());
    let (id, name) = (record.request_id().clone(), member.label.header.clone());
    let mut is_event_stream = false;
    let body = match body {
        AttemptBody::Coming(body) => {
            let source = Source { member, body, flight, first_byte };
            let relay = Relay::new(exchange, &head, source);
            is_event_stream = relay.is_event_stream();
            ResponseBody::Relay(ResponseGuard::new(relay))
        }
        AttemptBody::Read(bytes) => {
            if let Some(why) = explanation(&bytes).filter(|_| head.status.as_u16() >= 400) {
                record.explain(&why);
            }
            record.end(Reason::Answered);
            ResponseBody::Whole(Some(bytes), exchange.record)
        }
    };
    let mut added = Box::new(ProxyResponseHead::passing(head));
    // Says which instance answered, and what became of the conversation that the request named.
    added.identify(id);
    if is_event_stream {
        // nginx passes each event on at once, then.
        added.replace(KnownHeader::AccelBuffering, HeaderValue::from_static("no"));
    }
    name.into_iter().for_each(|name| added.replace(KnownHeader::Instance, name));
    conversation.into_iter().for_each(|what| added.replace(KnownHeader::Conversation, what));
    ProxyResponse { head: added, body }
}
