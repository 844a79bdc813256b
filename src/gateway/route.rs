//! What a request is for, by method and path alone. A path is read once: whoever needs to know what it
//! means gets what was found.

use http::Method;

use crate::dify::path::{self, classify};
use crate::dify::path::{Call, CallKind};
use crate::gateway::ai::{AiRoute, PathMatch, match_path};
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;

/// The paths that the gateway answers itself, beside the apps' own.
pub const ADMIN_PATHS: [&str; 5] = ["/health", "/ready", "/status", "/reload-config", "/metrics"];

/// What a request is for. It borrows from the request's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// One of [`ADMIN_PATHS`].
    Admin,
    /// A browser's question whether it may send the real request. It carries no token, so no app
    /// could be asked.
    Preflight,
    /// The same question about a call of [`Ai`](Self::Ai).
    AiPreflight,
    /// A call of Dify's.
    Dify(Native<'p>),
    /// A call of an AI client.
    Ai(AiRoute<'p>),
    NotFound,
}

/// A call of Dify's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Native<'p> {
    pub call: Call<'p>,
    pub access: Access,
    /// Its path, without the prefix that says whose it is.
    pub path: &'p str,
}

/// What gives a request leave to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A token, which names the app.
    Key,
    /// Its path: a signed link, or the code of a server of tools. Any instance may have what it leads
    /// to.
    Path,
}

pub(crate) fn route(head: &RequestHead) -> Route<'_> {
    let path = head.uri.path();
    if ADMIN_PATHS.contains(&path) {
        return Route::Admin;
    }
    let is_preflight = head.method == Method::OPTIONS;
    match match_path(&meant(head), path) {
        PathMatch::Ai(_) if is_preflight => Route::AiPreflight,
        PathMatch::Ai(route) => Route::Ai(route),
        PathMatch::Dify(rest) if !path::is_service_api(rest) => keyless(&head.method, rest),
        PathMatch::Dify(_) if is_preflight => Route::Preflight,
        PathMatch::Dify(rest) => native(classify(rest), Access::Key, rest),
    }
}

fn native<'p>(call: Call<'p>, access: Access, path: &'p str) -> Route<'p> {
    Route::Dify(Native { call, access, path })
}

/// The route of a path that is not below `/v1`. Files are only read; a server of tools is Dify's to
/// say what it takes: clients try GET and DELETE and want its 405.
fn keyless<'p>(method: &Method, path: &'p str) -> Route<'p> {
    let call = classify(path);
    match (call.kind, method) {
        (CallKind::SignedFile, &Method::GET | &Method::HEAD) | (CallKind::McpServer, _) => {
            native(call, Access::Path, path)
        }
        (CallKind::SignedFile, &Method::OPTIONS) => Route::Preflight,
        _ => Route::NotFound,
    }
}

/// The method of the request, or of the one that a preflight asks for.
fn meant(head: &RequestHead) -> Method {
    if head.method != Method::OPTIONS {
        return head.method.clone();
    }
    let asked = head.headers.get(KnownHeader::RequestMethod);
    let asked = asked.and_then(|method| Method::from_bytes(method).ok());
    asked.unwrap_or(Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::{Access, Native, Route, route};
    use crate::dify::path::{CallKind, Run};
    use crate::gateway::http::head::RequestHead;
    use crate::gateway::http::headers::Headers;

    fn head(method: Method, path: &'static str) -> RequestHead {
        let headers = Headers::of_lines(&[("access-control-request-method", "POST")]);
        let uri = http::Uri::from_static(path);
        RequestHead { method, uri, version: Version::HTTP_11, headers }
    }

    #[test]
    fn a_call_of_dify_is_what_its_path_says_without_the_prefix() {
        for (method, path, kind, access, rest) in [
            (
                Method::POST,
                "/v1/chat-messages",
                CallKind::Run(Run::Chat),
                Access::Key,
                "/v1/chat-messages",
            ),
            (Method::GET, "/dify/v1/messages?a=b", CallKind::Messages, Access::Key, "/v1/messages"),
            (Method::GET, "/v1/", CallKind::Root, Access::Key, "/v1/"),
            (Method::GET, "/v1/nobody-knows", CallKind::Unknown, Access::Key, "/v1/nobody-knows"),
            (
                Method::DELETE,
                "/mcp/server/u1WeaAPJCdCKIHnc/mcp",
                CallKind::McpServer,
                Access::Path,
                "/mcp/server/u1WeaAPJCdCKIHnc/mcp",
            ),
        ] {
            let head = head(method, path);
            let Route::Dify(Native { call, access: found, path: without }) = route(&head) else {
                panic!("{path}: {:?}", route(&head));
            };
            assert_eq!((call.kind, found, without), (kind, access, rest), "{path}");
        }
    }

    #[test]
    fn what_is_no_call_of_dify_has_a_route_of_its_own() {
        for (method, path, expected) in [
            (Method::GET, "/health", Route::Admin),
            (Method::OPTIONS, "/v1/chat-messages", Route::Preflight),
            (Method::OPTIONS, "/v1/chat/completions", Route::AiPreflight),
            (Method::GET, "/signin", Route::NotFound),
        ] {
            assert_eq!(route(&head(method, path)), expected, "{path}");
        }
        let completions = head(Method::POST, "/v1/chat/completions");
        assert!(matches!(route(&completions), Route::Ai(_)));
    }
}
