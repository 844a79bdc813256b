//! The admin endpoints, and what answers on the main listener by them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::{Timestamp, TimestampRound, Unit};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::admin::json_body::JsonBody;
use crate::admin::refusal::refuse;
use crate::admin::state::AdminState;
use crate::admin::visitor::{Listener, Visitor};
use crate::admin::{conversations, explain, metrics, status, web};
use crate::control::ReloadError;
use crate::control::plan::{Answer, Question};
use crate::gateway::{AdminHandler, AdminRequest, Shared};

/// The admin endpoints on the main listener.
pub struct AdminRouter {
    router: Router,
}

impl AdminRouter {
    /// The endpoints on the main listener.
    pub fn new(state: Arc<AdminState>) -> Self {
        Self { router: router(state) }
    }
}

impl AdminHandler for AdminRouter {
    fn answer(
        &self,
        asked: AdminRequest,
    ) -> Pin<Box<dyn Future<Output = http::Response<Bytes>> + Send + '_>> {
        let mut request = Request::from_parts(asked.head, Body::empty());
        request
            .extensions_mut()
            .insert(Visitor { listener: Listener::Main, address: asked.client });
        let answer = self.router.clone().oneshot(request);
        Box::pin(async move {
            let (head, body) = answer.await.into_response().into_parts();
            // The router's bodies are in memory already.
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            http::Response::from_parts(head, body)
        })
    }
}

pub(super) fn router(state: Arc<AdminState>) -> Router {
    let guarded = Router::new()
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/reload-config", get(reload).post(reload))
        .route("/shape", post(shape))
        .route("/explain", post(explain))
        .merge(conversations::router())
        .route_layer(from_fn_with_state(Arc::clone(&state), guard));
    Router::new()
        .route("/health", get(health))
        .merge(guarded)
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "not_found", "There is nothing here.") })
        .method_not_allowed_fallback(|method: Method| async move {
            let text = format!("The method {method} is not allowed here.");
            refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &text)
        })
        .with_state(state)
}

async fn guard(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let visitor = request.extensions().get::<Visitor>().copied();
    let access = state.access.load();
    let allowed = visitor
        .is_some_and(|visitor| access.allows(visitor.address, request.headers(), visitor.listener));
    // A kubelet asks from anywhere and needs no more than the status.
    let probes =
        request.uri().path() == "/ready" && matches!(*request.method(), Method::GET | Method::HEAD);
    if !allowed && probes && visitor.is_some_and(|visitor| visitor.listener == Listener::Main) {
        drop(access);
        return next.run(request).await.status().into_response();
    }
    if !allowed {
        let message = "This is for the gateway's operators: ask on the admin listener, from an address in \
            `admin.allow`, or with `Authorization: Bearer <admin.token>`.";
        return refuse(StatusCode::FORBIDDEN, "forbidden", message);
    }
    let token = match access.shows_token(request.headers()) {
        true => web::Token::Shown,
        false => web::Token::Absent,
    };
    if let Err(alien) = web::check(&request, &access.hosts, token) {
        let (status, code, message) = alien.answer();
        return refuse(StatusCode::from_u16(status).unwrap_or_default(), code, &message);
    }
    drop(access);
    next.run(request).await
}

async fn health(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !accept.is_some_and(|accept| accept.contains("application/json")) {
        return "healthy".into_response();
    }
    let seconds = TimestampRound::new().smallest(Unit::Second);
    let now = Timestamp::now();
    let now = now.round(seconds).unwrap_or(now);
    Json(json!({ "status": "ok", "timestamp": now.to_string() })).into_response()
}

async fn ready(State(state): State<Arc<AdminState>>) -> Response {
    with_gateway(&state, |shared| {
        let without = status::apps_without_instance(shared);
        let ready = without.is_empty() && !shared.is_draining();
        let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let word = match (shared.is_draining(), ready) {
            (true, _) => "draining",
            (false, true) => "ready",
            (false, false) => "not ready",
        };
        let body = json!({ "status": word, "applications_without_instance": without });
        (code, Json(body)).into_response()
    })
}

async fn status(State(state): State<Arc<AdminState>>) -> Response {
    let refused = state.reloader.refused().map(|refused| {
        let since = format!("{:.0}", refused.since);
        json!({ "since": since, "message": refused.why })
    });
    with_gateway(&state, |shared| {
        let mut status = status::status(shared);
        status["configuration"]["refused"] = json!(refused);
        Json(status).into_response()
    })
}

/// What runs, for `difygate plan`. Only the admin listener leads here.
async fn shape(
    State(state): State<Arc<AdminState>>,
    JsonBody(question): JsonBody<Question>,
) -> Response {
    with_gateway(&state, |shared| {
        let shape = state.reloader.shape(&question);
        let in_flight = status::in_flight(&shared.snapshot());
        Json(Answer { shape, in_flight }).into_response()
    })
}

/// Where a request would go, for `difygate explain`. Only the admin listener leads here.
async fn explain(
    State(state): State<Arc<AdminState>>,
    JsonBody(asked): JsonBody<explain::Asked>,
) -> Response {
    with_gateway(&state, |shared| match explain::answer(shared, &asked) {
        Ok(answer) => Json(answer).into_response(),
        Err(message) => refuse(StatusCode::BAD_REQUEST, "invalid_param", &message),
    })
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let dropped = state.log_dropped.as_ref().map_or(0, |dropped| dropped.get());
    with_gateway(&state, |shared| match metrics::encode(shared, dropped) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!("metrics cannot be encoded: {error}");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The metrics cannot be encoded.")
        }
    })
}

fn with_gateway(state: &AdminState, answer: impl FnOnce(&Shared) -> Response) -> Response {
    match state.shared.upgrade() {
        Some(shared) => answer(&shared),
        None => refuse(StatusCode::SERVICE_UNAVAILABLE, "ending", "The gateway is ending."),
    }
}

async fn reload(State(state): State<Arc<AdminState>>) -> Response {
    let (status, body): (_, Value) = match state.reloader.reload().await {
        Ok(done) => {
            let mut body = json!({ "status": "success", "message": "Configuration reloaded" });
            if !done.warnings.is_empty() {
                body["warnings"] = done.warnings.to_json();
            }
            if !done.changes.needs_restart.is_empty() {
                body["needs_restart"] = json!(done.changes.needs_restart);
            }
            if !done.certificates.is_empty() {
                let named = done.certificates.iter().map(ToString::to_string);
                body["certificates"] = named.collect();
            }
            if !done.authorities.is_empty() {
                body["authorities"] = json!(done.authorities);
            }
            (StatusCode::OK, body)
        }
        Err(error) => {
            let message = format!("Configuration not reloaded, the old one stays: {error}");
            let mut body = json!({ "status": "error", "message": message });
            if let ReloadError::Refused(findings) = &error {
                body["findings"] = findings.to_json();
            }
            (StatusCode::UNPROCESSABLE_ENTITY, body)
        }
    };
    (status, Json(body)).into_response()
}
