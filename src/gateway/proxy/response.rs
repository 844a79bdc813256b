//! An answer to a client: the gateway's own, or an instance's with some fields of the gateway's.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use smallvec::SmallVec;

use crate::dify::response_body::explanation;
use crate::gateway::http::head::AnswerHead;
use crate::gateway::http::header_name::Name;
use crate::gateway::http::headers::{Field, Fields, decimal};
use crate::gateway::http::hop_by_hop::Behind;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::proxy::exchange::{Forwarded, Journey};
use crate::gateway::proxy::relay::{Relay, Source};
use crate::gateway::proxy::response_body::Outgoing;
use crate::gateway::proxy::response_guard::Coming;
use crate::gateway::upstream::attempt::{Answer, AnswerBody};
use crate::model::Reason;

/// An answer on its way to a client.
pub(crate) struct Reply {
    /// On the heap, as it goes through many hands.
    pub(crate) head: Box<ReplyHead>,
    pub(crate) body: Outgoing,
}

/// Its head.
pub(crate) struct ReplyHead {
    pub(crate) status: StatusCode,
    /// The connection ends with it.
    pub(crate) closes: bool,
    /// Fields of an instance's answer, and which of them the client does not get.
    passed: Fields,
    behind: Behind,
    /// The gateway's own beside those.
    request_id: Option<RequestId>,
    told: SmallVec<[(Name, HeaderValue); 1]>,
    /// All fields of an answer of the gateway's own.
    own: HeaderMap,
}

impl ReplyHead {
    /// That of an instance's answer, as it goes on.
    pub(crate) fn passing(head: AnswerHead) -> Self {
        let AnswerHead { status, fields: passed, .. } = head;
        let behind = Behind::of_answer(&passed);
        let (request_id, told, own) = Default::default();
        Self { status, closes: false, passed, behind, request_id, told, own }
    }

    /// Adds the request's id in place of the instance's.
    pub(crate) fn identify(&mut self, id: RequestId) {
        self.behind.add(Name::RequestId);
        self.request_id = Some(id);
    }

    /// Adds a field in place of the instance's of that name.
    pub(crate) fn replace(&mut self, name: Name, value: HeaderValue) {
        self.behind.add(name);
        self.told.push((name, value));
    }

    /// What `Content-Length` says.
    pub(crate) fn length(&self) -> Option<u64> {
        let mut passed = self.passing_on().filter(|field| field.name == Name::ContentLength);
        match passed.next() {
            Some(field) => decimal(field.value),
            None => decimal(self.own.get(CONTENT_LENGTH)?.as_bytes()),
        }
    }

    /// The fields that the client gets, by name and value.
    pub(crate) fn each(&self, mut put: impl FnMut(&[u8], &[u8])) {
        self.passing_on().for_each(|field| put(field.spelt, field.value));
        if let Some(id) = &self.request_id {
            put(Name::RequestId.text().as_bytes(), id.as_str().as_bytes());
        }
        for (name, value) in &self.told {
            put(name.text().as_bytes(), value.as_bytes());
        }
        for (name, value) in &self.own {
            put(name.as_str().as_bytes(), value.as_bytes());
        }
    }

    fn passing_on(&self) -> impl Iterator<Item = Field<'_>> {
        self.passed.iter().filter(|field| !self.behind.has(field))
    }
}

impl Reply {
    /// For HTTP/2.
    pub(crate) fn into_response(self) -> Response<Outgoing> {
        let Self { head, body } = self;
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        let headers = response.headers_mut();
        *headers = head.own;
        let passing_on = head.passed.iter().filter(|field| !head.behind.has(field));
        passing_on.for_each(|field| field.put(headers));
        if let Some(id) = head.request_id {
            headers.append(Name::RequestId.header(), id.header());
        }
        for (name, value) in head.told {
            headers.append(name.header(), value);
        }
        if head.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Response<Outgoing>> for Reply {
    fn from(response: Response<Outgoing>) -> Self {
        let (head, body) = response.into_parts();
        let (passed, behind, request_id, told) = Default::default();
        let (status, own) = (head.status, head.headers);
        let closes = false;
        let head = Box::new(ReplyHead { status, closes, passed, behind, request_id, told, own });
        Self { head, body }
    }
}

/// Makes the client's answer out of an instance's.
pub(crate) fn open(mut journey: Box<Journey>, forwarded: Forwarded) -> Reply {
    let Forwarded { member, answer, flight, conversation } = forwarded;
    let Answer { head, body, arrived, first_byte } = *answer;
    let record = &mut journey.record;
    record.answered(&member, head.status.as_u16(), arrived.into_std());
    let (id, name) = (record.request_id().clone(), member.label.header.clone());
    let mut is_event_stream = false;
    let body = match body {
        AnswerBody::Coming(body) => {
            let source = Source { member, body, flight, first_byte };
            let relay = Relay::new(journey, &head, source);
            is_event_stream = relay.is_event_stream();
            Outgoing::Relay(Coming::new(relay))
        }
        AnswerBody::Read(bytes) => {
            if let Some(why) = explanation(&bytes).filter(|_| head.status.as_u16() >= 400) {
                record.explain(&why);
            }
            record.end(Reason::Answered);
            Outgoing::Whole(Some(bytes), journey.record)
        }
    };
    let mut told = Box::new(ReplyHead::passing(head));
    // Says which instance answered, and what became of the conversation that the request named.
    told.identify(id);
    if is_event_stream {
        // nginx passes each event on at once, then.
        told.replace(Name::AccelBuffering, HeaderValue::from_static("no"));
    }
    name.into_iter().for_each(|name| told.replace(Name::Instance, name));
    conversation.into_iter().for_each(|what| told.replace(Name::Conversation, what));
    Reply { head: told, body }
}
