//! The way of a request, on one screen.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::{Response, Version};
use http_body::Body;

use crate::adapter::Protocol;
use crate::dify;
use crate::dify::path::normal;
use crate::dify::path::{Call, CallKind};
use crate::dify::scan::BodyInfo;
use crate::gateway::ai::request::{AiRequest, AiResponse};
use crate::gateway::ai::{self, AiRoute};
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::http::client_conn::ClientConn;
use crate::gateway::http::framing;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::headers::Headers;
use crate::gateway::http::limits::BodyLimit;
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::http::request_id::RequestId;
use crate::gateway::ingress::{self, ServiceRequest, ServiceResponse};
use crate::gateway::proxy::detach::run;
use crate::gateway::proxy::end_user::KeyUsers;
use crate::gateway::proxy::exchange::{Exchange, ExchangeStart, ForwardResult, HashBy};
use crate::gateway::proxy::forwarded::client_info;
use crate::gateway::proxy::identify::{self, Encoded, Identified};
use crate::gateway::proxy::own_url::own_url;
use crate::gateway::proxy::own_users::rewrite;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::resource_ids::ResourceIds;
use crate::gateway::proxy::response::{ProxyResponse, open};
use crate::gateway::proxy::response_body::ResponseBody;
use crate::gateway::proxy::{errors, local_reply, tap};
use crate::gateway::route::{Access, Native, Route, route};
use crate::gateway::state::app::App;
use crate::gateway::state::services::ServiceRoute;
use crate::gateway::state::shared::AdminRequest;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::client_info::ClientInfo;
use crate::gateway::upstream::upstream_request::{Credential, UpstreamRequest};
use crate::gateway::upstream::worker::Worker;
use crate::model::{GatewayError, Reason};

/// What a request has come to.
enum Outcome {
    Forwarded(ProxyResponse),
    Local(Box<Record>, Response<Bytes>),
    Error(Box<Record>, GatewayError, Protocol),
    /// Its head can be read in two ways, so nothing that follows it can be trusted.
    Unclear(Box<Record>, GatewayError),
    Ai(Response<ResponseBody>),
}

/// Answers one request. It always answers: what goes wrong becomes an error in the client's protocol.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    client: Rc<ClientConn>,
    head: Rc<RequestHead>,
    body: IncomingBody,
) -> ProxyResponse {
    let snapshot = worker.shared().snapshot();
    client.begin_exchange(worker.clock().get());
    let client_info = client_info(&snapshot, &client, &head.headers);
    let record =
        Record::begin(&worker, &client, &head, client_info.client, RequestId::of(&head.headers));
    let web_origin = web_origin(&head.headers);
    let mut close = framing::must_close(&head.headers);
    if head.version == Version::HTTP_10 {
        client.ends_answers_by_closing();
    }
    let has_body = !body.is_end_stream();

    // One box from here on, so that what waits is small.
    let request = Box::new(IncomingRequest { worker, snapshot, client_info, record, head, body });
    let mut response = match request.run().await {
        Outcome::Forwarded(response) => response,
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
        Outcome::Ai(mut response) => {
            dify::cors::add(&web_origin, response.headers_mut());
            response.into()
        }
    };
    response.head.closes = close;
    response
}

/// A request between its head and its first attempt.
struct IncomingRequest {
    worker: Rc<Worker>,
    snapshot: Arc<Snapshot>,
    client_info: ClientInfo,
    record: Box<Record>,
    head: Rc<RequestHead>,
    body: IncomingBody,
}

impl IncomingRequest {
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
        // What was found borrows from it, whatever becomes of the request's own.
        let head = Rc::clone(&self.head);
        let mut route = route(&head);
        let is_unknown = match &route {
            Route::Dify(native) => native.call.kind == CallKind::Unknown,
            Route::NotFound => match ingress::find(&self.snapshot, self.record.head()) {
                Some(found) => {
                    return Box::pin(self.service(found)).await;
                }
                None => true,
            },
            _ => false,
        };
        if is_unknown && let Some(protocol) = ai_client(&self.snapshot, &head.headers) {
            route = Route::Ai(AiRoute::unknown(protocol));
        }
        match route {
            Route::Ai(route) if said(&head.headers, ANTHROPIC_VERSION).is_some() => {
                Box::pin(self.ai(route.in_anthropic_protocol())).await
            }
            Route::Dify(native) => {
                if native.path.len() < head.uri.path().len() {
                    with_path(Rc::make_mut(&mut self.head), native.path);
                }
                self.serve(native).await
            }
            Route::Ai(route) => Box::pin(self.ai(route)).await,
            Route::Admin => Box::pin(self.admin()).await,
            Route::Preflight => {
                Outcome::Local(self.record, local_reply::preflight(&head.to_parts()))
            }
            Route::AiPreflight => {
                Outcome::Local(self.record, local_reply::client_preflight(&head.to_parts()))
            }
            Route::NotFound => Outcome::Error(self.record, errors::no_route(), Protocol::Dify),
        }
    }

    async fn admin(self: Box<Self>) -> Outcome {
        let Self { worker, client_info, record, head, .. } = *self;
        let asked = AdminRequest { head: head.to_parts(), client: client_info.known_client() };
        let response = worker.shared().admin().answer(asked).await;
        Outcome::Local(record, response)
    }

    async fn ai(self: Box<Self>, route: AiRoute<'_>) -> Outcome {
        let Self { worker, snapshot, client_info, record, head, body, .. } = *self;
        let (address, headers) = (client_info.client, head.headers.to_map());
        let own_url = own_url(&client_info, &head);
        let request = AiRequest { worker, snapshot, address, record, head, headers, own_url };
        match ai::answer(request, body, route).await {
            AiResponse::Answer(response) => Outcome::Ai(response),
            AiResponse::Local(record, response) => {
                Outcome::Ai(local_reply::local(response, record))
            }
            AiResponse::Error(record, error) => Outcome::Error(record, error, route.protocol),
        }
    }

    async fn serve(mut self: Box<Self>, native: Native<'_>) -> Outcome {
        let is_root = native.call.kind == CallKind::Root;
        if is_root && identify::app(&self.snapshot, &self.head.headers).is_err() {
            return match ingress::find_api(&self.snapshot, self.record.head()) {
                Some(found) => Box::pin(self.service(found)).await,
                None => self.to_any_instance().await,
            };
        }
        let caller = match self.identify(native).await {
            Ok(caller) => caller,
            Err(error) => return Box::pin(self.refused(error)).await,
        };
        let exchange = match self.exchange(caller, native.call) {
            Ok(exchange) => exchange,
            Err((record, error)) => return Outcome::Error(record, error, Protocol::Dify),
        };
        if let Err(error) = exchange.check_stop().and_then(|()| exchange.check_own()) {
            return Outcome::Error(exchange.record, error, Protocol::Dify);
        }
        finish(run(exchange).await)
    }

    /// A key of Dify's that no app has is for the service that is Dify's API, if there is one.
    async fn refused(self: Box<Self>, error: GatewayError) -> Outcome {
        let head = self.record.head();
        if error.reason == Reason::Unauthorized
            && ingress::has_dify_key(head)
            && let Some(found) = ingress::find_api(&self.snapshot, head)
        {
            return self.service(found).await;
        }
        Outcome::Error(self.record, error, Protocol::Dify)
    }

    /// A request that no app takes, to the service of its route.
    async fn service(self: Box<Self>, found: Result<Arc<ServiceRoute>, GatewayError>) -> Outcome {
        let route = match found {
            Ok(route) => route,
            Err(error) => return Outcome::Error(self.record, error, Protocol::Dify),
        };
        let Self { worker, snapshot, client_info, record, body, .. } = *self;
        let head = Rc::clone(record.head());
        let request = ServiceRequest { worker, snapshot, client_info, record, head, body };
        match ingress::serve(request, &route).await {
            ServiceResponse::Response(response) => Outcome::Forwarded(response),
            ServiceResponse::Error(record, error) => Outcome::Error(record, error, Protocol::Dify),
        }
    }

    /// Dify answers its root without a key, so any instance may.
    async fn to_any_instance(mut self: Box<Self>) -> Outcome {
        let most = BodyLimit::any(&self.snapshot.limits);
        let body = identify::body(&self.head, &mut self.body, &self.snapshot, most).await;
        let Self { worker, snapshot, client_info, mut record, head, .. } = *self;
        let body = match body {
            Ok(body) => body,
            Err(error) => return Outcome::Error(record, error, Protocol::Dify),
        };
        record.body_read(None, body.len());
        let (address, everyone) = (client_info.client, Arc::clone(&snapshot.everyone));
        let id = record.request_id().clone();
        let outbound = UpstreamRequest::new(head, body, client_info, id);
        let exchange =
            Exchange::to_pool((worker, snapshot), &everyone.pool, address, outbound, record);
        finish(run(exchange).await)
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
        let (app, key) = identify::app(&self.snapshot, &self.head.headers)?;
        self.record.caller_known(&app);
        self.record.came_by(key);
        let of_users = !native.call.kind.wants_dataset_key();
        let key_users = match of_users {
            true => KeyUsers::of(key, &app, &self.head.headers)?,
            false => None,
        };
        let encoded = if key_users.is_some() { Encoded::Refused } else { Encoded::Allowed };
        let snapshot = &self.snapshot;
        let mut identified = identify::user(&self.head, &mut self.body, snapshot, encoded).await?;
        if let Some(key_users) = &key_users {
            rewrite(key_users, &mut self.head, native.call.kind, &mut identified)?;
        }
        let Identified { user, facts, body, .. } = identified;
        self.record.body_read(user.clone(), body.len());
        Ok(Caller { app, user, facts, body })
    }

    /// Where the request goes: to who has what it names, else by its user.
    ///
    /// The knowledge API knows no users. What names no dataset goes by one key for all clients of the
    /// app, so that datasets are made where those are that its lists show.
    fn exchange(
        self,
        caller: Caller,
        call: Call<'_>,
    ) -> Result<Box<Exchange>, (Box<Record>, GatewayError)> {
        let Self { worker, snapshot, client_info, record, head, .. } = self;
        let Caller { app, user, facts, body } = caller;
        let (kind, starts_run) = (call.kind, call.starts_run(&head.method));
        let key = if kind.wants_dataset_key() { Credential::Datasets } else { Credential::App };
        if key == Credential::Datasets && !app.opens_datasets() {
            return Err((record, errors::no_datasets()));
        }
        let resource_ids = ResourceIds::of(&head, call, &facts);
        let run = match kind {
            CallKind::Run(run) if starts_run => Some(run),
            _ => None,
        };
        let user = match key {
            Credential::App => user.as_deref(),
            Credential::Datasets => Some("/v1/datasets"),
        };
        let address = client_info.client;
        let mut outbound =
            UpstreamRequest::new(head, body, client_info, record.request_id().clone());
        outbound.use_key(key);
        if run.is_some() || resource_ids.is_any() || tap::tells(kind) {
            outbound.refuse_packed_answers();
        }
        Ok(Exchange::new(ExchangeStart {
            worker,
            snapshot,
            app,
            kind,
            run,
            is_streamed: facts.is_streamed,
            user_in_body: facts.user,
            hash_by: HashBy::User(user),
            address,
            resource_ids,
            outbound,
            record,
        }))
    }
}

/// A request at the end of its attempts.
fn finish((exchange, result): ForwardResult) -> Outcome {
    match result {
        Ok(forwarded) => Outcome::Forwarded(open(exchange, forwarded)),
        Err(error) => Outcome::Error(exchange.record, error, Protocol::Dify),
    }
}

struct Caller {
    app: Arc<App>,
    user: Option<String>,
    facts: BodyInfo,
    body: BufferedBody,
}

/// What Anthropic's clients say with every request.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// The protocol of a client that is none of Dify's, by its key and its headers: unknown paths of an app's
/// user tokens are for Dify to say, which may be newer.
fn ai_client(snapshot: &Snapshot, headers: &Headers) -> Option<Protocol> {
    let is_of_app = match identify::app(snapshot, headers) {
        Ok((_, key)) => Some(key.is_user_token),
        Err(refusal) => (refusal.reason == Reason::AmbiguousApp).then_some(false),
    };
    let is_anthropic =
        ["x-api-key", ANTHROPIC_VERSION].iter().any(|name| said(headers, name).is_some());
    match is_of_app {
        Some(true) => None,
        _ if is_anthropic => Some(Protocol::Anthropic),
        Some(false) => Some(Protocol::OpenAi),
        None => said(headers, "api-key").map(|_| Protocol::OpenAi),
    }
}

fn said<'f>(headers: &'f Headers, name: &str) -> Option<&'f [u8]> {
    let mut found = headers.iter();
    found.find(|field| field.spelt.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
}

/// The request with another path and the same query.
fn with_path(head: &mut RequestHead, path: &str) {
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(uri) = format!("{path}{query}").parse() {
        head.uri = uri;
    }
}

/// Of a request's headers, what decides whether a browser's script may read an error.
fn web_origin(request: &Headers) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let origin = request.get(KnownHeader::Origin);
    let origin = origin.and_then(|origin| HeaderValue::from_bytes(origin).ok());
    headers.extend(origin.map(|origin| (ORIGIN, origin)));
    headers
}
