//! The way of a request, on one screen.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::{Response, Version};
use http_body::Body;

use crate::adapter::Protocol;
use crate::dify;
use crate::dify::path::{Call, CallKind, normal};
use crate::dify::scan::BodyInfo;
use crate::gateway::ai::request::{Arrival, Done};
use crate::gateway::ai::{self, Door};
use crate::gateway::http::buffered_body::Kept;
use crate::gateway::http::client_conn::Client;
use crate::gateway::http::framing;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::Name;
use crate::gateway::http::headers::Fields;
use crate::gateway::http::limits::BodyLimit;
use crate::gateway::http::request_body::Arriving;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::proxy::detach::travel;
use crate::gateway::proxy::end_user::Speaker;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::exchange::{Departure, Journey, SpreadBy};
use crate::gateway::proxy::forwarded::origin;
use crate::gateway::proxy::identify::{self, Asked, Packed};
use crate::gateway::proxy::local_reply;
use crate::gateway::proxy::own_url::own_url;
use crate::gateway::proxy::own_users::rewrite;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::resource_ids::Claims;
use crate::gateway::proxy::response::Reply;
use crate::gateway::proxy::response::open;
use crate::gateway::proxy::response_body::Outgoing;
use crate::gateway::proxy::tap;
use crate::gateway::route::{Access, Native, Route, route};
use crate::gateway::state::app::App;
use crate::gateway::state::shared::Visit;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tokens::Key as ClientKey;
use crate::gateway::upstream::upstream_request::{Key, Origin, Outbound};
use crate::gateway::upstream::worker::Worker;
use crate::model::{GatewayError, Reason};

/// What a request has come to.
enum Outcome {
    Forwarded(Reply),
    Local(Box<Record>, Response<Bytes>),
    Error(Box<Record>, GatewayError, Protocol),
    /// Its head can be read in two ways, so nothing that follows it can be trusted.
    Unclear(Box<Record>, GatewayError),
    /// Of an AI client.
    Told(Response<Outgoing>),
}

/// Answers one request. It always answers: what goes wrong becomes an error in the client's protocol.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    client: Rc<Client>,
    head: Rc<RequestHead>,
    body: Arriving,
) -> Reply {
    let snapshot = worker.shared().snapshot();
    client.begin_exchange(worker.clock().get());
    let origin = origin(&snapshot, &client, &head.fields);
    let record = Record::begin(&worker, &client, &head, origin.client, RequestId::of(&head.fields));
    let web_origin = web_origin(&head.fields);
    let mut close = framing::must_close(&head.fields);
    if head.version == Version::HTTP_10 {
        client.ends_answers_by_closing();
    }
    let has_body = !body.is_end_stream();

    // One box from here on, so that what waits is small.
    let exchange = Box::new(Exchange { worker, snapshot, origin, record, head, body });
    let mut reply = match exchange.run().await {
        Outcome::Forwarded(reply) => reply,
        Outcome::Local(record, response) => local_reply::local(response, record).into(),
        Outcome::Error(record, error, protocol) => {
            if has_body {
                client.leave_unread();
            }
            local_reply::error(&error, protocol, &web_origin, record).into()
        }
        Outcome::Unclear(record, error) => {
            client.leave_unread();
            close = true;
            local_reply::error(&error, Protocol::Dify, &web_origin, record).into()
        }
        Outcome::Told(mut response) => {
            dify::cors::add(&web_origin, response.headers_mut());
            response.into()
        }
    };
    reply.head.closes = close;
    reply
}

/// A request between its head and its first attempt.
struct Exchange {
    worker: Rc<Worker>,
    snapshot: Arc<Snapshot>,
    origin: Origin,
    record: Box<Record>,
    head: Rc<RequestHead>,
    body: Arriving,
}

impl Exchange {
    async fn run(mut self: Box<Self>) -> Outcome {
        let Self { head, snapshot, .. } = &*self;
        if let Err(error) = framing::check(head, &snapshot.limits) {
            return Outcome::Unclear(self.record, error);
        }
        if let Some(path) = normal(head.uri.path()) {
            with_path(Rc::make_mut(&mut self.head), &path);
        }
        if let Some(path) = ai::tidied(&self.head.method, self.head.uri.path()) {
            with_path(Rc::make_mut(&mut self.head), &path);
        }
        // What was found borrows from it, whatever becomes of the exchange's own.
        let head = Rc::clone(&self.head);
        let mut route = route(&head);
        let is_unknown = match &route {
            Route::Dify(native) => native.call.kind == CallKind::Unknown,
            Route::Nothing => true,
            _ => false,
        };
        if is_unknown && let Some(protocol) = ai_client(&self.snapshot, &head.fields) {
            route = Route::Client(Door::unknown(protocol));
        }
        match route {
            Route::Client(door) if said(&head.fields, ANTHROPIC_VERSION).is_some() => {
                Box::pin(self.at_a_door(door.spoken_by_anthropic())).await
            }
            Route::Dify(native) => {
                if native.path.len() < head.uri.path().len() {
                    with_path(Rc::make_mut(&mut self.head), native.path);
                }
                self.serve(native).await
            }
            Route::Client(door) => Box::pin(self.at_a_door(door)).await,
            Route::Desk => Box::pin(self.at_the_desk()).await,
            Route::Preflight => {
                Outcome::Local(self.record, local_reply::preflight(&head.to_parts()))
            }
            Route::ClientPreflight => {
                Outcome::Local(self.record, local_reply::client_preflight(&head.to_parts()))
            }
            Route::Nothing => Outcome::Error(self.record, errors::no_route(), Protocol::Dify),
        }
    }

    async fn at_the_desk(self: Box<Self>) -> Outcome {
        let Self { worker, origin, record, head, .. } = *self;
        let visit = Visit { head: head.to_parts(), client: origin.known_client() };
        let response = worker.shared().desk().answer(visit).await;
        Outcome::Local(record, response)
    }

    async fn at_a_door(self: Box<Self>, door: Door<'_>) -> Outcome {
        let Self { worker, snapshot, origin, record, head, body, .. } = *self;
        let (address, headers) = (origin.client, head.fields.to_map());
        let own_url = own_url(&origin, &head);
        let arrival = Arrival { worker, snapshot, address, record, head, headers, own_url };
        match ai::answer(arrival, body, door).await {
            Done::Answer(response) => Outcome::Told(response),
            Done::Local(record, response) => Outcome::Told(local_reply::local(response, record)),
            Done::Error(record, error) => Outcome::Error(record, error, door.protocol),
        }
    }

    async fn serve(mut self: Box<Self>, native: Native<'_>) -> Outcome {
        let caller = match self.identify(native).await {
            Ok(caller) => caller,
            Err(error) => return Outcome::Error(self.record, error, Protocol::Dify),
        };
        let journey = match self.journey(caller, native.call) {
            Ok(journey) => journey,
            Err((record, error)) => return Outcome::Error(record, error, Protocol::Dify),
        };
        if let Err(error) = journey.check_stop().and_then(|()| journey.check_own()) {
            return Outcome::Error(journey.record, error, Protocol::Dify);
        }
        let (journey, result) = travel(journey).await;
        match result {
            Ok(forwarded) => Outcome::Forwarded(open(journey, forwarded)),
            Err(error) => Outcome::Error(journey.record, error, Protocol::Dify),
        }
    }

    async fn identify(&mut self, native: Native<'_>) -> Result<Caller, GatewayError> {
        if native.access == Access::Path {
            let app = Arc::clone(&self.snapshot.everyone);
            self.record.caller_known(&app);
            let most = BodyLimit::any(&self.snapshot.limits);
            let body = identify::body(&self.head, &mut self.body, &self.snapshot, most).await?;
            self.record.body_read(None, body.len());
            return Ok(Caller { app, user: None, facts: BodyInfo::default(), body });
        }
        let (app, key) = app(&self.snapshot, &self.head.fields, native.call.kind)?;
        self.record.caller_known(&app);
        key.into_iter().for_each(|key| self.record.came_by(key));
        let of_users = !native.call.kind.wants_dataset_key();
        let speaker = match key.filter(|_| of_users) {
            Some(key) => Speaker::of(key, &app, &self.head.fields)?,
            None => None,
        };
        let packed = if speaker.is_some() { Packed::Refused } else { Packed::Allowed };
        let snapshot = &self.snapshot;
        let mut asked = identify::user(&self.head, &mut self.body, snapshot, packed).await?;
        if let Some(speaker) = &speaker {
            rewrite(speaker, &mut self.head, native.call.kind, &mut asked)?;
        }
        let Asked { user, facts, body, .. } = asked;
        self.record.body_read(user.clone(), body.len());
        Ok(Caller { app, user, facts, body })
    }

    /// Where the request goes: to who has what it names, else by its user.
    ///
    /// The knowledge API knows no users. What names no dataset goes by one key for all clients of the
    /// app, so that datasets are made where those are that its lists show.
    fn journey(
        self,
        caller: Caller,
        call: Call<'_>,
    ) -> Result<Box<Journey>, (Box<Record>, GatewayError)> {
        let Self { worker, snapshot, origin, record, head, .. } = self;
        let Caller { app, user, facts, body } = caller;
        let (kind, starts_run) = (call.kind, call.starts_run(&head.method));
        let key = if kind.wants_dataset_key() { Key::Datasets } else { Key::App };
        if key == Key::Datasets && !app.opens_datasets() {
            return Err((record, errors::no_datasets()));
        }
        let claims = Claims::of(&head, call, &facts);
        let run = match kind {
            CallKind::Run(run) if starts_run => Some(run),
            _ => None,
        };
        let user = match key {
            Key::App => user.as_deref(),
            Key::Datasets => Some("/v1/datasets"),
        };
        let address = origin.client;
        let mut outbound = Outbound::new(head, body, origin, record.request_id().clone());
        outbound.use_key(key);
        if run.is_some() || claims.is_any() || tap::tells(kind) {
            outbound.refuse_packed_answers();
        }
        Ok(Journey::new(Departure {
            worker,
            snapshot,
            app,
            kind,
            run,
            is_streamed: facts.is_streamed,
            user_in_body: facts.user,
            spread_by: SpreadBy::User(user),
            address,
            claims,
            outbound,
            record,
        }))
    }
}

/// Who asks, and for what.
struct Caller {
    app: Arc<App>,
    user: Option<String>,
    facts: BodyInfo,
    body: Kept,
}

/// What Anthropic's clients say with every request.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// The protocol of a client that is none of Dify's, by its key and its fields: unknown paths of an app's
/// user tokens are for Dify to say, which may be newer.
fn ai_client(snapshot: &Snapshot, fields: &Fields) -> Option<Protocol> {
    let is_of_app = match identify::app(snapshot, fields) {
        Ok((_, key)) => Some(key.is_user_token),
        Err(refusal) => (refusal.reason == Reason::AmbiguousApp).then_some(false),
    };
    let is_anthropic =
        ["x-api-key", ANTHROPIC_VERSION].iter().any(|name| said(fields, name).is_some());
    match is_of_app {
        Some(true) => None,
        _ if is_anthropic => Some(Protocol::Anthropic),
        Some(false) => Some(Protocol::OpenAi),
        None => said(fields, "api-key").map(|_| Protocol::OpenAi),
    }
}

fn said<'f>(fields: &'f Fields, name: &str) -> Option<&'f [u8]> {
    let mut found = fields.iter();
    found.find(|field| field.spelt.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
}

/// The request with another path and the same query.
fn with_path(head: &mut RequestHead, path: &str) {
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(uri) = format!("{path}{query}").parse() {
        head.uri = uri;
    }
}

/// The app of the request's token, and its key. Dify answers its root without a key, so any instance may.
fn app<'s>(
    snapshot: &'s Snapshot,
    fields: &Fields,
    kind: CallKind,
) -> Result<(Arc<App>, Option<&'s Arc<ClientKey>>), GatewayError> {
    match identify::app(snapshot, fields) {
        Ok((app, key)) => Ok((app, Some(key))),
        Err(_) if kind == CallKind::Root => Ok((Arc::clone(&snapshot.everyone), None)),
        Err(error) => Err(error),
    }
}

/// Of a request's fields, what decides whether a browser's script may read an error.
fn web_origin(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let origin = fields.get(Name::Origin).and_then(|origin| HeaderValue::from_bytes(origin).ok());
    headers.extend(origin.map(|origin| (ORIGIN, origin)));
    headers
}
