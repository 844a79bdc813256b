//! Which protocol a request speaks, by method and path alone. The door gives refusals their shape.

use http::Method;
use http::request::Parts;

use crate::dify::path;

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
    /// Dify's service API.
    Dify,
    /// Nothing that is served here.
    Nothing,
}

/// The door of a request.
pub(super) fn open(head: &Parts) -> Door {
    let path = head.uri.path();
    if DESK_PATHS.contains(&path) {
        Door::Desk
    } else if !path::is_service_api(path) {
        Door::Nothing
    } else if head.method == Method::OPTIONS {
        Door::Preflight
    } else {
        Door::Dify
    }
}
