//! Heads of requests and answers.

use http::{Method, Request, StatusCode, Uri, Version, request};

use crate::gateway::fields::Fields;

/// The head of a client's request.
#[derive(Clone, Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) fields: Fields,
}

/// The head of an instance's answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) fields: Fields,
}

impl RequestHead {
    /// One in the types of `http`, as HTTP/2's come.
    pub(super) fn of_parts(parts: request::Parts) -> Self {
        let request::Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, fields: Fields::of_map(&headers) }
    }

    /// The same in the types of `http`.
    pub(super) fn to_parts(&self) -> request::Parts {
        let mut parts = Request::new(()).into_parts().0;
        parts.method.clone_from(&self.method);
        parts.uri.clone_from(&self.uri);
        parts.version = self.version;
        parts.headers = self.fields.to_map();
        parts
    }
}
