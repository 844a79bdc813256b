//! Answers: the ways to say yes and no.

mod head;

use crate::pyjson;
use crate::release::Release;
pub(crate) use head::EXPOSED;
use head::reason;
use serde_json::Value;

/// `The browser (or proxy) sent …`: what werkzeug says to what it cannot read.
const BAD_REQUEST: &str =
    "The browser (or proxy) sent a request that this server could not understand.";

/// The body of error shape C; later releases add the status.
const CRASH: &str = "{\"message\": \"Internal Server Error\", \"code\": \"unknown\"}\n";
const CRASH_WITH_STATUS: &str =
    "{\"message\": \"Internal Server Error\", \"code\": \"unknown\", \"status\": 500}\n";

/// One answer of the application, not yet rendered for a connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    content_type: &'static str,
    /// Before Content-Type, in order.
    before: Vec<(&'static str, &'static str)>,
    /// After Content-Length, in order.
    extra: Vec<(&'static str, String)>,
    /// After X-Env, in order; of 1.5 only.
    tail: Vec<(&'static str, &'static str)>,
    /// Whether the route gives the CORS headers.
    cors: bool,
    length: Length,
    written: Written,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Length {
    /// Content-Length right after Content-Type.
    Given,
    /// Content-Length after all others, as in answers to OPTIONS.
    Last,
    /// No Content-Length and no body: 204.
    Absent,
    /// A stream: chunked for HTTP/1.1, up to the close for HTTP/1.0.
    Stream,
}

/// Who wrote the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Nobody but the route itself: the same in every release.
    Plain,
    /// The router, whose style of JSON differs from release to release.
    Router,
    /// A blocking run: Python's style, with a charset in later releases.
    Run,
}

/// An answer that refuses; boxed, because it travels as an error.
pub(crate) type Refused = Box<Answer>;

impl Answer {
    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type,
            before: Vec::new(),
            extra: Vec::new(),
            tail: Vec::new(),
            cors: true,
            length: Length::Given,
            written: Written::Plain,
            body,
        }
    }

    /// JSON text exactly as given.
    pub(crate) fn json(status: u16, text: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json", text.into())
    }

    /// JSON text of Python's style, as the router of the release rewrites it.
    fn routed(status: u16, text: impl Into<Vec<u8>>) -> Self {
        let mut answer = Self::json(status, text);
        answer.written = Written::Router;
        answer
    }

    /// What a blocking run came to, as JSON text.
    pub(crate) fn run(status: u16, text: impl Into<Vec<u8>>) -> Self {
        let mut answer = Self::json(status, text);
        answer.written = Written::Run;
        answer
    }

    /// JSON as the router ends it, with a line feed.
    pub(crate) fn restful(status: u16, value: &Value) -> Self {
        Self::routed(status, pyjson::text(value) + "\n")
    }

    /// 200 `{"result": "success"}`.
    pub(crate) fn success() -> Self {
        Self::routed(200, "{\"result\": \"success\"}\n")
    }

    /// Error shape A: code, message, status.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::routed(
            status,
            format!(
                "{{\"code\": {}, \"message\": {}, \"status\": {status}}}\n",
                pyjson::quote(code),
                pyjson::quote(message)
            ),
        )
    }

    /// 400 `invalid_param` of shape A: what Dify makes of a `ValueError`.
    pub(crate) fn invalid(message: &str) -> Self {
        Self::error(400, "invalid_param", message)
    }

    /// Error shape B: a parameter that is missing or wrong.
    pub(crate) fn parameter(message: &str, name: &str) -> Self {
        Self::routed(
            400,
            format!(
                "{{\"code\": \"invalid_param\", \"message\": {}, \"params\": {}}}\n",
                pyjson::quote(message),
                pyjson::quote(name)
            ),
        )
    }

    /// Error shape C: an exception nobody caught.
    pub(crate) fn crash() -> Self {
        Self::routed(500, CRASH)
    }

    /// 500 for an exception that was caught: Redis is away.
    pub(crate) fn overloaded() -> Self {
        let message = "The server encountered an internal error and was unable to complete your \
            request. Either the server is overloaded or there is an error in the application.";
        Self::error(500, "internal_server_error", message)
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::error(401, "unauthorized", message)
    }

    pub(crate) fn not_found(message: &str) -> Self {
        Self::error(404, "not_found", message)
    }

    pub(crate) fn bad_request() -> Self {
        Self::error(400, "bad_request", BAD_REQUEST)
    }

    /// A multipart field that is not there.
    pub(crate) fn bad_request_key() -> Self {
        Self::error(400, "bad_request_key_error", BAD_REQUEST)
    }

    pub(crate) fn wrong_mode(code: &str) -> Self {
        Self::error(400, code, "Please check if your app mode matches the right API route.")
    }

    /// 404 for a path no route has.
    pub(crate) fn no_route() -> Self {
        let page = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n\
            <h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered \
            the URL manually please check your spelling and try again.</p>\n";
        Self::new(404, "text/html; charset=utf-8", page.into()).without_cors()
    }

    /// 308 to the same path with a slash.
    pub(crate) fn redirect(location: &str) -> Self {
        let page = format!(
            "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n\
             <h1>Redirecting...</h1>\n<p>You should be redirected automatically to the target \
             URL: <a href=\"{location}\">{location}</a>. If not, click the link.\n"
        );
        let mut answer = Self::new(308, "text/html; charset=utf-8", page.into()).without_cors();
        answer.extra.push(("Location", location.to_owned()));
        answer
    }

    /// 404 for `GET /v1/` where the router's documentation shadows it.
    pub(crate) fn no_index() -> Self {
        let mut answer = Self::no_route();
        answer.cors = true;
        answer
    }

    /// 401 for a route of the operators'.
    pub(crate) fn no_operator() -> Self {
        let page = "<!doctype html>\n<html lang=en>\n<title>401 Unauthorized</title>\n\
            <h1>Unauthorized</h1>\n<p>API key is invalid.</p>\n";
        Self::new(401, "text/html; charset=utf-8", page.into()).without_cors()
    }

    /// 405 with the methods there are.
    pub(crate) fn wrong_method(allowed: &str, release: Release) -> Self {
        let message = "The method is not allowed for the requested URL.";
        let mut answer = Self::error(405, "method_not_allowed", message).without_cors();
        if !release.is_restx() {
            answer.extra.push(("Allow", allowed.to_owned()));
        }
        answer
    }

    /// 200 to OPTIONS, with the headers given, in order.
    pub(crate) fn options(headers: Vec<(&'static str, String)>) -> Self {
        let mut answer = Self::new(200, "text/html; charset=utf-8", Vec::new()).without_cors();
        answer.extra = headers;
        answer.length = Length::Last;
        answer
    }

    /// 204 without a body.
    pub(crate) fn no_content() -> Self {
        let mut answer = Self::new(204, "application/json", Vec::new());
        answer.length = Length::Absent;
        answer
    }

    /// 200 with a stream of events.
    pub(crate) fn events() -> Self {
        let mut answer = Self::new(200, "text/event-stream; charset=utf-8", Vec::new());
        answer.length = Length::Stream;
        answer
    }

    /// 200 with the events of a run that began elsewhere.
    pub(crate) fn run_events() -> Self {
        let mut answer = Self::events();
        answer.before.push(("Cache-Control", "no-cache"));
        answer
    }

    /// A file of one of the content types Dify serves.
    pub(crate) fn file(content_type: &'static str, body: Vec<u8>) -> Self {
        Self::new(200, content_type, body)
    }

    pub(crate) fn without_cors(mut self) -> Self {
        self.cors = false;
        self
    }

    pub(crate) fn with_extra(mut self, name: &'static str, value: String) -> Self {
        self.extra.push((name, value));
        self
    }

    pub(crate) fn with_tail(mut self, name: &'static str, value: &'static str) -> Self {
        self.tail.push((name, value));
        self
    }

    /// The same with its body as this release writes it, and its headers.
    pub(crate) fn by(mut self, release: Release) -> Self {
        if !release.is_restx() {
            return self;
        }
        if self.body == CRASH.as_bytes() {
            self.body = CRASH_WITH_STATUS.into();
        }
        if self.status == 401 && self.content_type == "application/json" {
            self.extra.push(("WWW-Authenticate", "Bearer realm=\"api\"".to_owned()));
        }
        match self.written {
            Written::Plain => {}
            Written::Run => self.content_type = "application/json; charset=utf-8",
            Written::Router => {
                if let Ok(text) = std::str::from_utf8(&self.body) {
                    let body = pyjson::rewritten(text, release.writes_bodies()).into_owned();
                    self.body = body.into();
                }
            }
        }
        self
    }

    /// Code and message of an error of the router's.
    pub(crate) fn told(&self) -> Option<(String, String)> {
        if self.written != Written::Router {
            return None;
        }
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Some((body["code"].as_str()?.to_owned(), body["message"].as_str()?.to_owned()))
    }
}

/// The message of a bare status, for the fault that answers with one.
pub(crate) fn bare(status: u16) -> Answer {
    match status {
        500 => Answer::crash(),
        204 | 304 => {
            let mut answer = Answer::no_content();
            answer.status = status;
            answer
        }
        _ => {
            let code = reason(status).to_ascii_lowercase().replace(' ', "_");
            Answer::error(status, &code, reason(status))
        }
    }
}
