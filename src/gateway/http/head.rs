//! Heads of requests and answers.

use http::{Method, Request, StatusCode, Uri, Version, request};

use crate::gateway::http::headers::Fields;

/// The head of a client's request.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
}

/// The head of an instance's answer.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
}

impl RequestHead {
    /// One in the types of `http`, as HTTP/2's come.
    pub(crate) fn of_parts(parts: request::Parts) -> Self {
        let request::Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, fields: Fields::of_map(&headers) }
    }

    /// The same in the types of `http`.
    pub(crate) fn to_parts(&self) -> request::Parts {
        let mut parts = Request::new(()).into_parts().0;
        parts.method.clone_from(&self.method);
        parts.uri.clone_from(&self.uri);
        parts.version = self.version;
        parts.headers = self.fields.to_map();
        parts
    }
}
