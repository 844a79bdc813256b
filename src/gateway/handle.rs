//! The way of a request, on one screen.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use uuid::Uuid;

use crate::dify::path::{CallKind, Id, classify};
use crate::gateway::client::Client;
use crate::gateway::door::{self, Door};
use crate::gateway::forward::{Forwarded, forward};
use crate::gateway::framing;
use crate::gateway::head::HeadWatch;
use crate::gateway::identify;
use crate::gateway::outbound::{FORWARDED_FOR, Origin, Outbound, REQUEST_ID};
use crate::gateway::record::Record;
use crate::gateway::respond;
use crate::gateway::select::{Asker, BoundToId, Candidates};
use crate::gateway::shared::Visit;
use crate::gateway::snapshot::{App, Snapshot};
use crate::gateway::stream::{Outgoing, relay};
use crate::gateway::worker::Worker;
use crate::model::{Reason, Refusal};

/// What a request has come to.
enum Outcome {
    Forwarded(Forwarded),
    Local(Response<Bytes>),
}

/// Answers one request. It always answers: what goes wrong becomes a refusal.
pub(super) async fn handle(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let snapshot = worker.shared().snapshot();
    let (head, body) = request.into_parts();
    let seen = client.begin_exchange(worker.clock().get());
    let origin = origin(&snapshot, &client, &head.headers);
    let mut record = Record::begin(&worker, &client, &head, origin.client, request_id(&head));
    let web_origin: HeaderMap =
        head.headers.get(ORIGIN).map(|origin| (ORIGIN, origin.clone())).into_iter().collect();
    let close = framing::must_close(&head.headers, seen.as_ref());
    let has_body = !body.is_end_stream();

    let exchange =
        Exchange { worker: &worker, snapshot: &snapshot, origin, seen, record: &mut record };
    let mut response = match exchange.run(head, body).await {
        Ok(Outcome::Forwarded(forwarded)) => {
            relay(&worker, forwarded, record, snapshot.timeouts.idle)
        }
        Ok(Outcome::Local(response)) => respond::local(response, record),
        Err(refusal) => {
            if has_body {
                client.leave_unread();
            }
            respond::refuse(&refusal, &web_origin, record)
        }
    };
    if close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// A request between its head and the head of its answer.
struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    snapshot: &'a Arc<Snapshot>,
    origin: Origin,
    seen: Option<HeadWatch>,
    record: &'a mut Record,
}

impl Exchange<'_> {
    async fn run(self, head: Parts, body: Incoming) -> Result<Outcome, Refusal> {
        framing::check(&head, self.seen.as_ref(), &self.snapshot.limits)?;
        match door::open(&head) {
            Door::Desk => {
                let visit = Visit { head, client: self.origin.client };
                Ok(Outcome::Local(self.worker.shared().desk().answer(visit).await))
            }
            Door::Preflight => Ok(Outcome::Local(respond::preflight(&head))),
            Door::Dify => self.serve(head, body).await.map(Outcome::Forwarded),
            Door::Nothing => Err(Refusal::client(
                Reason::NoRoute,
                404,
                "not_found",
                "Nothing is served at this path. Dify's service API is below /v1/.",
            )),
        }
    }

    async fn serve(self, head: Parts, body: Incoming) -> Result<Forwarded, Refusal> {
        let Self { worker, snapshot, origin, record, .. } = self;
        let app = caller(snapshot, &head)?;
        record.caller_known(&app);
        let (user, body) = identify::user(&head, body, snapshot).await?;
        record.body_read(user.clone(), body.len());
        let (address, bound_to_id) = (origin.client, bound_to_id(&head));
        let asker = Asker { user: user.as_deref(), address, bound_to_id };
        let candidates = Candidates::new(&app, asker, snapshot.last_resort);
        let outbound = Outbound::new(head, body, origin, record.request_id());
        forward(worker, snapshot, candidates, &outbound, record).await
    }
}

/// The app of the request's token. Dify answers its root without a key, so any instance may.
fn caller(snapshot: &Snapshot, head: &Parts) -> Result<Arc<App>, Refusal> {
    match identify::app(snapshot, &head.headers) {
        Err(_) if classify(head.uri.path()).kind == CallKind::Root => {
            Ok(Arc::clone(&snapshot.everyone))
        }
        found => found,
    }
}

/// Whether the request's path or query names something that only one instance has. Ids in bodies
/// are not known here yet.
fn bound_to_id(head: &Parts) -> BoundToId {
    // A workflow's version is the same text wherever the app was imported.
    let in_path = classify(head.uri.path()).id.filter(|id| !matches!(id, Id::Workflow(_)));
    match in_path.is_some() || identify::in_query(head, "conversation_id").is_some() {
        true => BoundToId::Yes,
        false => BoundToId::No,
    }
}

/// The client's own request id where it is usable, else a new one.
fn request_id(head: &Parts) -> HeaderValue {
    let given = head.headers.get(REQUEST_ID).filter(|id| {
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// Where a request comes from: behind trusted proxies, the last address that is none of them.
fn origin(snapshot: &Snapshot, client: &Client, headers: &HeaderMap) -> Origin {
    let peer = client.peer.ip().to_canonical();
    if !snapshot.trusts(peer) {
        return Origin { peer, client: peer, via_proxy: false };
    }
    let hops = headers.get_all(FORWARDED_FOR).iter().filter_map(|chain| chain.to_str().ok());
    let mut hops: Vec<_> = hops
        .flat_map(|chain| chain.split(','))
        .filter_map(|hop| hop.trim().parse::<std::net::IpAddr>().ok())
        .collect();
    let outermost = hops.first().copied();
    while let Some(hop) = hops.pop() {
        if !snapshot.trusts(hop) {
            return Origin { peer, client: hop, via_proxy: true };
        }
    }
    Origin { peer, client: outermost.unwrap_or(peer), via_proxy: true }
}
