//! Requests to services: what is passed on without an app.
//!
//! A route by path, host and method names a pool of instances that can stand in for each other. The
//! body is complete before a connection is taken; nothing in it is read. A service of which no
//! instance can be reached makes its requests wait for a while.

mod forwarding;
mod page;
mod path;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use tokio::time::{Instant, sleep};

use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::limits::BodyLimit;
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::proxy::detach::run;
use crate::gateway::proxy::exchange::Exchange;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::response::{ProxyResponse, open};
use crate::gateway::proxy::{errors, identify};
use crate::gateway::state::services::ServiceRoute;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::upstream::client_info::ClientInfo;
use crate::gateway::upstream::upstream_request::UpstreamRequest;
use crate::gateway::upstream::worker::Worker;
use crate::model::{GatewayError, Reason};

/// Between the first two looks for an instance, and at most between two of them.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));

/// For clients of a service that nobody serves, in seconds.
const RETRY_AFTER_S: u32 = 5;

/// A request to a service.
pub(crate) struct ServiceRequest {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub client_info: ClientInfo,
    pub record: Box<Record>,
    /// As it came.
    pub head: Rc<RequestHead>,
    pub body: IncomingBody,
}

/// What has come of it.
pub(crate) enum ServiceResponse {
    Response(ProxyResponse),
    /// An error in the form of Dify's API.
    Error(Box<Record>, GatewayError),
}

/// The route of a request that is no app's; none if no service takes it.
///
/// # Errors
/// The path can be read in two ways, or must not be reached from outside.
pub(crate) fn find(
    snapshot: &Snapshot,
    head: &RequestHead,
) -> Option<Result<Arc<ServiceRoute>, GatewayError>> {
    let services = snapshot.services.as_ref()?;
    Some(match path::readable(head.uri.path()) {
        Err(path::Dots) => Err(errors::bad_request("The path has `.` or `..` segments.")),
        Ok(path) if path::is_private(&path) => Err(errors::no_route()),
        Ok(path) => Ok(Arc::clone(services.find(&head.method, host(head).as_deref(), &path)?)),
    })
}

/// The service for a request to Dify's service API that no app takes: `Bearer app-…` or `dataset-…`
/// that no app has, or nothing at all for the root of that API.
pub(crate) fn find_api(
    snapshot: &Snapshot,
    head: &RequestHead,
) -> Option<Result<Arc<ServiceRoute>, GatewayError>> {
    let found = find(snapshot, head)?;
    match &found {
        Ok(route) if !route.is_service_api() => None,
        _ => Some(found),
    }
}

/// Whether a request has one of Dify's own keys.
pub(crate) fn has_dify_key(head: &RequestHead) -> bool {
    let key = identify::bearer(&head.headers).unwrap_or_default();
    key.starts_with(b"app-") || key.starts_with(b"dataset-")
}

/// The host that the client asks for, in small letters and without a port.
fn host(head: &RequestHead) -> Option<String> {
    let named = head.uri.authority().map(Authority::as_str);
    let named = named.or_else(|| head.headers.text(KnownHeader::Host))?;
    let authority: Authority = named.parse().ok()?;
    Some(authority.host().to_ascii_lowercase())
}

/// Takes a request to an instance of its service.
pub(crate) async fn serve(request: ServiceRequest, route: &ServiceRoute) -> ServiceResponse {
    let ServiceRequest { worker, snapshot, client_info, mut record, head, mut body } = request;
    let Some(services) = &snapshot.services else {
        return ServiceResponse::Error(record, errors::no_route());
    };
    let most = BodyLimit::any(&snapshot.limits);
    let body = match identify::body(&head, &mut body, &snapshot, most).await {
        Ok(body) => body,
        Err(error) => return ServiceResponse::Error(record, error),
    };
    record.body_read(None, body.len());
    let forwarding = forwarding::of(client_info, &head, services.public_url.as_ref(), route);
    let address = forwarding.client.client;
    let id = record.request_id().clone();
    let outbound = UpstreamRequest::to_service(Rc::clone(&head), body, forwarding, id);
    let until = Instant::now() + services.wait;
    let (mut pause, mut waiting) = (PAUSES.0, None);
    loop {
        let origin = (Rc::clone(&worker), Arc::clone(&snapshot));
        let pool = &route.service.pool;
        let exchange = Exchange::to_pool(origin, pool, address, outbound.clone(), record);
        let (exchange, result) = run(exchange).await;
        let error = match result {
            Ok(response) => return ServiceResponse::Response(open(exchange, response)),
            Err(error) => error,
        };
        record = exchange.record;
        if !is_nobody(&error) {
            return refuse(&head, error, record);
        }
        waiting = waiting.or_else(|| route.service.wait());
        if waiting.is_none() || Instant::now() + pause > until {
            return refuse(&head, nobody(route, error), record);
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Whether no instance could be reached, so that none has had anything of the request.
fn is_nobody(error: &GatewayError) -> bool {
    matches!(error.reason, Reason::NoInstance | Reason::ConnectFailed)
}

/// No instance of the service can be reached.
fn nobody(route: &ServiceRoute, error: GatewayError) -> GatewayError {
    let message = "This service is not available at the moment. Please try again.";
    let why = error.detail.unwrap_or_else(|| error.reason.label().to_owned());
    GatewayError::instance(error.reason, 503, "service_unavailable", message)
        .retry_after(RETRY_AFTER_S)
        .with_detail(format!("service {}: {why}", route.service.name))
}

/// An error for people where they ask for a page, else as Dify's API has it.
fn refuse(head: &RequestHead, error: GatewayError, record: Box<Record>) -> ServiceResponse {
    match page::is_wanted(head) {
        true => ServiceResponse::Response(page::of(&error, record)),
        false => ServiceResponse::Error(record, error),
    }
}
