//! Calls of Dify that the gateway makes for a route: each goes the way of a native request, with the
//! same routing, affinity and failover.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::HeaderValue;
use uuid::Uuid;

use crate::affinity::Scope;
use crate::dify::path::{CallKind, Run};
use crate::dify::response_body::{explanation, learn_json};
use crate::gateway::ai::errors;
use crate::gateway::ai::upstream;
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::proxy::detach::run;
use crate::gateway::proxy::exchange::{
    Exchange, ExchangeStart, ForwardResult, HashBy, UpstreamResponse,
};
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::resource_ids::{self, IdScope, ResourceIds};
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::attempt::AttemptBody;
use crate::gateway::upstream::classify_response;
use crate::gateway::upstream::upstream_request::UpstreamRequest;
use crate::gateway::upstream::worker::Worker;
use crate::model::GatewayError;

/// The largest answer that is read whole: forms and settings of an app have some kilobytes.
pub(super) const MAX_ANSWER_BYTES: usize = 1 << 20;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An AI client's request between two calls of Dify. It owns the record, which each call borrows.
pub(super) struct DifyCalls {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    /// The app that was asked for.
    pub app: Arc<App>,
    pub address: IpAddr,
    /// The user, as Dify will know it; users are spread by it.
    pub user: String,
    /// What is written of the request.
    pub record: Box<Record>,
}

/// One call of Dify.
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub kind: CallKind,
    pub run: Option<Run>,
    pub content_type: HeaderValue,
    pub body: BufferedBody,
    /// The conversation that it is a turn of.
    pub conversation: Option<Uuid>,
    /// What else it names that one instance has.
    pub names: Vec<Uuid>,
}

impl Call {
    /// A GET of something that any instance has.
    pub(super) fn get(path: String, kind: CallKind) -> Self {
        Self {
            method: Method::GET,
            path,
            kind,
            run: None,
            content_type: JSON,
            body: BufferedBody::EMPTY,
            conversation: None,
            names: Vec::new(),
        }
    }

    pub(super) fn post(
        path: &str,
        kind: CallKind,
        content_type: HeaderValue,
        body: BufferedBody,
    ) -> Self {
        let run = match kind {
            CallKind::Run(run) => Some(run),
            _ => None,
        };
        let (method, path, names) = (Method::POST, path.to_owned(), Vec::new());
        Self { method, path, kind, run, content_type, body, conversation: None, names }
    }

    /// It is a turn of this conversation.
    pub(super) fn in_conversation(mut self, id: Option<Uuid>) -> Self {
        self.conversation = id;
        self
    }

    /// It names something that one instance has.
    pub(super) fn naming(mut self, ids: impl IntoIterator<Item = Uuid>) -> Self {
        self.names.extend(ids);
        self
    }
}

pub(super) struct Read {
    pub member: Arc<Member>,
    pub status: u16,
    pub body: Bytes,
    /// Its `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

impl DifyCalls {
    /// Makes a call and reads its answer whole.
    ///
    /// # Errors
    /// Nobody answered, or the answer broke off.
    pub(super) async fn ask(self, call: Call) -> (Self, Result<Read, GatewayError>) {
        let (kind, from) = (call.kind, self.from());
        let (exchange, result) = self.send(call).await;
        let mut calls = Self::back(exchange, from);
        let read = match result {
            Ok(forwarded) => calls.read(kind, forwarded).await,
            Err(error) => Err(calls.noted(error)),
        };
        (calls, read)
    }

    /// Reads an answer whole.
    ///
    /// # Errors
    /// It broke off.
    pub(super) async fn read(
        &mut self,
        kind: CallKind,
        forwarded: UpstreamResponse,
    ) -> Result<Read, GatewayError> {
        // The member counts the request until its answer is read.
        let UpstreamResponse { member, response: answer, flight: _flight, .. } = forwarded;
        let connections = &self.worker.connections;
        let answer = classify_response::read(answer, &member, connections, MAX_ANSWER_BYTES).await;
        let answer = answer.map_err(|attempt| self.noted(errors::of(&attempt)))?;
        let retry_after_s = upstream::retry_after_s(&answer.head);
        let body = match answer.body {
            AttemptBody::Read(body) => body,
            AttemptBody::Coming(..) => Bytes::new(),
        };
        let status = answer.head.status;
        if !status.is_success() {
            upstream::note_refusal(&mut self.record, &member, &answer.head);
            explanation(&body).into_iter().for_each(|why| self.record.explain(&why));
        }
        if status.is_success() {
            let (learned, _) = learn_json(kind, &body);
            let scope = Scope::new(self.app.name.as_str(), &self.user);
            let key = self.record.key();
            let key = key.and_then(|key| key.id_scope(self.app.name.as_str()));
            let id_scope = IdScope { scope, key, storage: self.app.policy.storage };
            resource_ids::remember(&learned, id_scope, &member, self.worker.shared().owners());
        }
        Ok(Read { member, status: status.as_u16(), body, retry_after_s })
    }

    /// Nobody answered; what the log should know of that is noted.
    pub(super) fn noted(&mut self, error: GatewayError) -> GatewayError {
        if let Some(detail) = &error.detail {
            self.record.note(detail.clone());
        }
        error
    }

    /// Makes a call. The exchange has the record, and what else the calls had.
    pub(super) async fn send(self, call: Call) -> ForwardResult {
        run(self.exchange(call)).await
    }

    /// Finds out which instance has a conversation, so that whatever follows goes there. False if none
    /// has it.
    ///
    /// # Errors
    /// Somebody who may have it cannot be asked; too many such searches are under way.
    pub(super) async fn find(self, conversation: Uuid) -> (Self, Result<bool, GatewayError>) {
        let call =
            Call::post("/v1/chat-messages", CallKind::Run(Run::Chat), JSON, BufferedBody::EMPTY);
        let from = self.from();
        let mut exchange = self.exchange(call.in_conversation(Some(conversation)));
        let found = exchange.find_owner().await.map(|()| !exchange.is_nowhere());
        (Self::back(exchange, from), found)
    }

    /// The calls again, after a call.
    pub(super) fn back(exchange: Box<Exchange>, (app, address): (Arc<App>, IpAddr)) -> Self {
        let Exchange { worker, snapshot, record, call, .. } = *exchange;
        let user = call.and_then(|call| call.user_in_body).unwrap_or_default();
        Self { worker, snapshot, app, address, user, record }
    }

    /// The app and where the client is: what an exchange does not give back.
    pub(super) fn from(&self) -> (Arc<App>, IpAddr) {
        (Arc::clone(&self.app), self.address)
    }

    fn exchange(self, call: Call) -> Box<Exchange> {
        let Self { worker, snapshot, app, address, user, record } = self;
        let Call { method, path, kind, run, content_type, body, conversation, names } = call;
        let outbound = UpstreamRequest::own(method, &path, content_type, body, record.request_id());
        Exchange::new(ExchangeStart {
            worker,
            snapshot,
            app,
            kind,
            run,
            // Every run of an AI client is: the answer is summed up here, if at all.
            is_streamed: run.is_some(),
            user_in_body: Some(user),
            hash_by: HashBy::UserInBody,
            address,
            resource_ids: ResourceIds::of_turn(conversation, &names),
            outbound,
            record,
        })
    }
}
