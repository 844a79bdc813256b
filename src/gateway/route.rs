//! Which protocol a request speaks, by method and path alone. The door gives refusals their shape.

use http::Method;

use crate::dify::path::{self, CallKind};
use crate::gateway::doors::{Entrance, entrance};
use crate::gateway::heads::RequestHead;
use crate::gateway::names::Name;

/// The paths that the gateway answers itself, beside the apps' own.
pub const DESK_PATHS: [&str; 5] = ["/health", "/ready", "/status", "/reload-config", "/metrics"];

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// One of [`DESK_PATHS`].
    Desk,
    /// A browser's question whether it may send the real request. It carries no token, so no app
    /// could be asked.
    Preflight,
    /// The same question about a call of [`Client`](Self::Client).
    ClientPreflight,
    /// Dify's service API.
    Dify,
    /// The same below a prefix that says so.
    PrefixedDify,
    /// What Dify serves without a key: the path is one.
    Keyless,
    /// An AI client's protocol.
    Client,
    /// Nothing that is served here.
    Nothing,
}

/// The door of a request.
pub(super) fn open(head: &RequestHead) -> Door {
    let path = head.uri.path();
    if DESK_PATHS.contains(&path) {
        return Door::Desk;
    }
    let is_preflight = head.method == Method::OPTIONS;
    match entrance(&meant(head), path) {
        Entrance::Door(_) if is_preflight => Door::ClientPreflight,
        Entrance::Door(_) => Door::Client,
        Entrance::Dify(rest) if !path::is_service_api(rest) => keyless(&head.method, rest),
        Entrance::Dify(_) if is_preflight => Door::Preflight,
        Entrance::Dify(rest) if rest.len() < path.len() => Door::PrefixedDify,
        Entrance::Dify(_) => Door::Dify,
    }
}

/// The door of a path that is not below `/v1`. Files are only read; a server of tools is Dify's to
/// say what it takes: clients try GET and DELETE and want its 405.
fn keyless(method: &Method, path: &str) -> Door {
    match (path::classify(path).kind, method) {
        (CallKind::SignedFile, &Method::GET | &Method::HEAD) => Door::Keyless,
        (CallKind::SignedFile, &Method::OPTIONS) => Door::Preflight,
        (CallKind::McpServer, _) => Door::Keyless,
        _ => Door::Nothing,
    }
}

/// The method of the request, or of the one that a preflight asks for.
fn meant(head: &RequestHead) -> Method {
    if head.method != Method::OPTIONS {
        return head.method.clone();
    }
    let asked = head.fields.get(Name::RequestMethod);
    let asked = asked.and_then(|method| Method::from_bytes(method).ok());
    asked.unwrap_or(Method::OPTIONS)
}
