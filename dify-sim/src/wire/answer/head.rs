//! Heads of answers: the headers in the recorded order.

use super::{Answer, Length};
use crate::release::Release;
use crate::wire::head::Head;
use std::fmt::Write;

/// Headers that a browser's page may see.
pub(crate) const EXPOSED: &str = "X-Env, X-Trace-Id, X-Version";

impl Answer {
    /// The head for the request `head`, by a Dify of this release.
    pub(crate) fn render_head(&self, head: &Head, release: Release, keep: bool) -> String {
        let mut out = String::with_capacity(400);
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        let connection = if keep { "keep-alive" } else { "close" };
        let _ = write!(
            out,
            "HTTP/1.{} {} {}\r\nServer: gunicorn\r\nDate: {date}\r\nConnection: {connection}\r\n",
            head.minor,
            self.status,
            reason(self.status)
        );
        if self.length == Length::Stream && head.minor > 0 {
            out.push_str("Transfer-Encoding: chunked\r\n");
        }
        for (name, value) in &self.before {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        let _ = write!(out, "Content-Type: {}\r\n", self.content_type);
        if self.length == Length::Given {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.extra {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if self.cors {
            self.render_cors(&mut out, head, release);
        }
        let _ = write!(out, "X-Version: {}\r\nX-Env: PRODUCTION\r\n", release.version());
        if release.is_restx() {
            if !out.contains("\r\nVary: ") {
                out.push_str("Vary: Cookie\r\n");
            }
        } else {
            for (name, value) in &self.tail {
                let _ = write!(out, "{name}: {value}\r\n");
            }
        }
        if self.length == Length::Last {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        out.push_str("\r\n");
        out
    }

    fn render_cors(&self, out: &mut String, head: &Head, release: Release) {
        let origin = head.header("origin");
        let allowed = origin.as_deref().unwrap_or("*");
        let _ = write!(out, "Access-Control-Allow-Origin: {allowed}\r\n");
        if release.is_restx() {
            let _ = write!(out, "Access-Control-Expose-Headers: {EXPOSED}\r\n");
        }
        if origin.is_some() {
            let vary = if release.is_restx() { "Origin, Cookie" } else { "Origin" };
            let _ = write!(out, "Vary: {vary}\r\n");
        }
    }
}

/// The reason phrase, in capitals as werkzeug gives it.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "CREATED",
        202 => "ACCEPTED",
        204 => "NO CONTENT",
        301 => "MOVED PERMANENTLY",
        302 => "FOUND",
        308 => "PERMANENT REDIRECT",
        400 => "BAD REQUEST",
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        404 => "NOT FOUND",
        405 => "METHOD NOT ALLOWED",
        408 => "REQUEST TIMEOUT",
        409 => "CONFLICT",
        412 => "PRECONDITION FAILED",
        413 => "REQUEST ENTITY TOO LARGE",
        415 => "UNSUPPORTED MEDIA TYPE",
        429 => "TOO MANY REQUESTS",
        500 => "INTERNAL SERVER ERROR",
        501 => "NOT IMPLEMENTED",
        502 => "BAD GATEWAY",
        503 => "SERVICE UNAVAILABLE",
        504 => "GATEWAY TIMEOUT",
        _ => "UNKNOWN",
    }
}
