//! What Dify and the gateway refuse, as faults that every door can tell.
//!
//! A status that would make a client mend its own request is given only where the client can. What
//! is wrong with the key of an app, with its model or with an instance is the operator's: 502, 503
//! or 504, and final where repeating the request is in vain or would run it twice. The clients of
//! OpenAI and Anthropic repeat 408, 409, 429 and every 5xx unless they are told not to.

use serde::Deserialize;

use super::fault::{Fault, Kind};
use super::foreign;
use crate::model::{Reason, Refusal};

/// How long a client should wait for a place, in seconds.
const BUSY_S: u32 = 1;

/// The start of Dify's 429 for an app that takes no more runs, which it sends as 400.
const TOO_MANY: &str = "Too many requests. Please try again";

/// What Dify 1.5.0 puts before the error of a chatflow's node, which it calls the client's.
const RUN_FAILED: &str = "Run failed: ";

/// Of a 413 without a word of what is too large.
const TOO_LARGE: &str = "The request is too large for Dify.";

impl Fault {
    /// An error of Dify's, by its status, code and message, from an answer or from an event.
    pub fn of_dify(status: u16, code: &str, message: &str) -> Self {
        if let Some(fault) = by_code(code, message) {
            return fault;
        }
        match status {
            400 => of_invalid(code, message),
            401 => upstream_auth(),
            403 => unavailable("The app is switched off or gone."),
            404 => Self::new(404, Kind::NotFound, "not_found", message),
            413 => Self::new(413, Kind::TooLarge, "request_too_large", TOO_LARGE),
            415 => invalid("unsupported_file", message),
            429 => busy(message),
            // What stands before Dify says it of itself when Dify cannot be reached.
            503 => overloaded("The app is not available at the moment."),
            504 => {
                Self::new(504, Kind::Timeout, "upstream_timeout", "The app did not answer in time.")
                    .for_good()
            }
            405..=499 => invalid("invalid_value", message),
            _ => Self::new(502, Kind::Server, "upstream_error", "Dify failed to run the app.")
                .for_good(),
        }
    }

    /// The same, from the body of an answer. What is not Dify's JSON counts by its status alone.
    pub fn of_dify_answer(status: u16, body: &[u8]) -> Self {
        if let Some(fault) = foreign::of_answer(status, body) {
            return fault;
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Body {
            code: String,
            message: String,
            params: Option<String>,
        }
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let message = match body.message.as_str() {
            "" => "Dify refused the request without saying why.",
            message => message,
        };
        let fault = Self::of_dify(status, &body.code, message);
        let param = fault.param.clone().or(body.params).filter(|_| fault.status == 400);
        Self { param, ..fault }
    }

    /// A refusal of the gateway's own. Its detail, which is for the log, is left out.
    pub fn of_refusal(refusal: &Refusal) -> Self {
        let message = refusal.message.clone();
        let fault =
            |status, kind, code: &'static str| Self::new(status, kind, code, message.clone());
        let fault = match refusal.reason {
            Reason::Unauthorized => unauthorized(),
            Reason::AmbiguousApp => Self::invalid("invalid_value", "model", message),
            Reason::BadRequest | Reason::BodyTimeout => {
                fault(refusal.status, Kind::InvalidRequest, refusal.code)
            }
            Reason::BodyTooLarge => fault(413, Kind::TooLarge, "request_too_large"),
            Reason::NoRoute => fault(404, Kind::NotFound, "unknown_url"),
            Reason::Forbidden => fault(403, Kind::Permission, "permission_denied"),
            Reason::Busy => fault(429, Kind::RateLimit, "rate_limit_exceeded"),
            Reason::NoInstance | Reason::OwnerOut | Reason::SpoolFailed | Reason::StoreFailed => {
                fault(503, Kind::Overloaded, "service_unavailable")
            }
            // Nothing was sent, so it may well be repeated.
            Reason::ConnectFailed => fault(502, Kind::Server, "upstream_unavailable"),
            Reason::InstanceTimeout | Reason::AnswerIdle => {
                fault(504, Kind::Timeout, "upstream_timeout").for_good()
            }
            Reason::InstanceClosed
            | Reason::InstanceGarbled
            | Reason::AnswerCut
            | Reason::BadStatus
            | Reason::ClientGone
            | Reason::Answered
            | Reason::Local => fault(502, Kind::Server, "upstream_error").for_good(),
        };
        let wait = (refusal.reason == Reason::Busy).then_some(BUSY_S);
        Self { retry_after_s: refusal.retry_after_s.or(wait), ..fault }
    }

    /// There is no such model, or not for this key: 404. A key is not told which of both.
    pub fn no_model(model: &str) -> Self {
        let message =
            format!("The model `{model}` does not exist or you do not have access to it.");
        let fault = Self::new(404, Kind::NotFound, "model_not_found", message);
        Self { param: Some("model".to_owned()), ..fault }
    }
}

/// What a code means whatever the status: inside a stream all are 400.
fn by_code(code: &str, message: &str) -> Option<Fault> {
    Some(match code {
        "invalid_param" if message.starts_with(TOO_MANY) => busy("The app takes no more runs now."),
        "too_many_requests" | "rate_limit_error" => busy(message),
        "unauthorized" | "web_app_access_denied" | "web_sso_auth_required" => upstream_auth(),
        "forbidden" => unavailable("The app is switched off or gone."),
        "app_unavailable" | "agent_not_published" => unavailable("The app is not set up in Dify."),
        "not_chat_app" | "not_completion_app" | "not_workflow_app" => {
            unavailable("The app is of another kind than it was.")
        }
        "provider_not_initialize" | "provider_quota_exceeded" | "model_currently_not_support" => {
            let message = format!("The app's model cannot be used: {message}");
            let code = "upstream_model_unavailable";
            Fault::new(503, Kind::Overloaded, code, message).for_good()
        }
        "completion_request_error" => {
            let message = format!("The app's model failed: {message}");
            Fault::new(502, Kind::Server, "upstream_model_error", message).for_good()
        }
        "file_too_large" | "audio_too_large" => {
            Fault::new(413, Kind::TooLarge, "request_too_large", "A file is too large for Dify.")
        }
        "unsupported_file_type" | "unsupported_audio_type" => invalid("unsupported_file", message),
        "provider_not_support_speech_to_text" => {
            invalid("unsupported_value", "The model has no speech-to-text.")
        }
        "file_access_denied" | "workflow_version_execution_not_allowed" => {
            Fault::new(403, Kind::Permission, "permission_denied", message)
        }
        _ => return None,
    })
}

/// A 400 whose code does not tell who is wrong.
fn of_invalid(code: &str, message: &str) -> Fault {
    if let Some(what) = message.strip_prefix(RUN_FAILED) {
        let message = format!("The app's run failed: {what}");
        return Fault::new(502, Kind::Server, "upstream_run_failed", message).for_good();
    }
    if message == "Workflow not published" || message.contains("for ModelConfigEntity") {
        return unavailable("The app is not published, or has no model.");
    }
    // The text goes on with an address inside Dify.
    if message.starts_with("Failed to request plugin daemon") {
        return unavailable("Dify's plugin service does not answer.");
    }
    let fault = invalid("invalid_value", message);
    match code {
        // An input of the app is missing or too long.
        "invalid_param" if message.contains("in input form") => {
            Fault { param: Some("inputs".to_owned()), ..fault }
        }
        _ => fault,
    }
}

fn invalid(code: &'static str, message: &str) -> Fault {
    Fault::new(400, Kind::InvalidRequest, code, message)
}

/// The gateway's own 401.
fn unauthorized() -> Fault {
    let message = "The API key is missing or wrong: send `Authorization: Bearer <key>`.";
    Fault::new(401, Kind::Authentication, "invalid_api_key", message)
}

/// Dify does not take the token of the configuration. The client's key is right, so it must not be
/// told otherwise.
fn upstream_auth() -> Fault {
    let message = "Dify does not accept the gateway's key for this app.";
    Fault::new(502, Kind::Server, "upstream_auth", message).for_good()
}

fn busy(message: &str) -> Fault {
    let fault = Fault::new(429, Kind::RateLimit, "rate_limit_exceeded", message);
    Fault { retry_after_s: Some(BUSY_S), ..fault }
}

fn overloaded(message: &str) -> Fault {
    let fault = Fault::new(503, Kind::Overloaded, "upstream_unavailable", message);
    Fault { retry_after_s: Some(BUSY_S), ..fault }
}

/// The operator has to mend it.
fn unavailable(message: &str) -> Fault {
    Fault::new(503, Kind::Overloaded, "upstream_unavailable", message).for_good()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::shape::Shape;

    /// `status, code, message` of Dify, and `status, code, final` as the client gets it.
    type Row = ((u16, &'static str, &'static str), (u16, &'static str, bool));

    const TABLE: &[Row] = &[
        ((400, "invalid_param", "Arg user must be provided."), (400, "invalid_value", false)),
        (
            (400, "invalid_param", "Too many requests. Please try again later. The current …"),
            (429, "rate_limit_exceeded", false),
        ),
        ((400, "invalid_param", "Run failed: x"), (502, "upstream_run_failed", true)),
        ((400, "invalid_param", "Workflow not published"), (503, "upstream_unavailable", true)),
        (
            (400, "invalid_param", "2 validation errors for ModelConfigEntity\nprovider"),
            (503, "upstream_unavailable", true),
        ),
        (
            (400, "invalid_param", "Failed to request plugin daemon, url: plugin/3479"),
            (503, "upstream_unavailable", true),
        ),
        ((400, "bad_request", "x"), (400, "invalid_value", false)),
        ((400, "app_unavailable", "x"), (503, "upstream_unavailable", true)),
        ((400, "agent_not_published", "x"), (503, "upstream_unavailable", true)),
        ((400, "not_chat_app", "x"), (503, "upstream_unavailable", true)),
        ((400, "provider_quota_exceeded", "x"), (503, "upstream_model_unavailable", true)),
        ((400, "provider_not_initialize", "x"), (503, "upstream_model_unavailable", true)),
        ((400, "model_currently_not_support", "x"), (503, "upstream_model_unavailable", true)),
        ((400, "completion_request_error", "429"), (502, "upstream_model_error", true)),
        ((400, "provider_not_support_speech_to_text", "x"), (400, "unsupported_value", false)),
        ((400, "too_many_files", "x"), (400, "invalid_value", false)),
        ((401, "unauthorized", "Access token is invalid"), (502, "upstream_auth", true)),
        ((401, "", ""), (502, "upstream_auth", true)),
        ((403, "forbidden", "x"), (503, "upstream_unavailable", true)),
        ((403, "", ""), (503, "upstream_unavailable", true)),
        ((403, "file_access_denied", "x"), (403, "permission_denied", false)),
        ((404, "not_found", "Conversation Not Exists."), (404, "not_found", false)),
        (
            (413, "file_too_large", "File size exceeded. {message}"),
            (413, "request_too_large", false),
        ),
        ((413, "", "<html>"), (413, "request_too_large", false)),
        (
            (415, "unsupported_file_type", "File type not allowed."),
            (400, "unsupported_file", false),
        ),
        ((415, "unsupported_audio_type", "x"), (400, "unsupported_file", false)),
        ((429, "too_many_requests", "x"), (429, "rate_limit_exceeded", false)),
        ((429, "rate_limit_error", "x"), (429, "rate_limit_exceeded", false)),
        ((500, "internal_server_error", "x"), (502, "upstream_error", true)),
        ((500, "unknown", "Internal Server Error"), (502, "upstream_error", true)),
        ((502, "", "<html>"), (502, "upstream_error", true)),
        ((503, "", "<html>"), (503, "upstream_unavailable", false)),
        ((504, "", "<html>"), (504, "upstream_timeout", true)),
        ((301, "", ""), (502, "upstream_error", true)),
    ];

    #[test]
    fn every_error_of_dify_has_its_place() {
        for ((status, code, message), expected) in TABLE {
            let fault = Fault::of_dify(*status, code, message);
            let found = (fault.status, &*fault.code, fault.is_final);
            assert_eq!(found, *expected, "{status} {code} {message}");
            assert_eq!(fault.status == 429, fault.kind == Kind::RateLimit, "{code}");
            assert!(!fault.message.is_empty() && !fault.message.contains("plugin/"), "{code}");
            let waits = fault.retry_after_s.is_some();
            assert_eq!(waits, matches!(fault.status, 429 | 503) && !fault.is_final, "{code}");
        }
    }

    #[test]
    fn inside_a_stream_the_code_counts() {
        let fault = Fault::of_dify(400, "unauthorized", "x");
        assert_eq!((fault.status, &*fault.code), (502, "upstream_auth"));
    }

    #[test]
    fn dify_names_the_field_that_is_wrong() {
        let body = br#"{"code": "invalid_param", "message": "Missing", "params": "query"}"#;
        assert_eq!(Fault::of_dify_answer(400, body).param.as_deref(), Some("query"));
        let body = br#"{"code": "invalid_param", "message": "text is required in input form"}"#;
        let fault = Fault::of_dify_answer(400, body);
        assert_eq!((fault.param.as_deref(), fault.status), (Some("inputs"), 400));
        let fault = Fault::of_dify_answer(502, b"<html>nginx</html>");
        assert_eq!((&*fault.code, fault.param), ("upstream_error", None));
        let fault = Fault::of_dify_answer(400, b"<html>secret</html>");
        assert_eq!(&*fault.code, "upstream_not_dify");
        assert!(!fault.message.contains("secret"));
    }

    #[test]
    fn no_refusal_is_a_client_error_unless_the_client_can_mend_it() {
        for reason in Reason::ALL {
            let refusal = Refusal::gateway(reason, 400, "some_code", "What to do.")
                .with_detail("http://10.0.0.7 is out");
            let fault = Fault::of_refusal(&refusal);
            let expected = match reason {
                Reason::Unauthorized => (401, Kind::Authentication, false),
                Reason::AmbiguousApp | Reason::BadRequest | Reason::BodyTimeout => {
                    (400, Kind::InvalidRequest, false)
                }
                Reason::BodyTooLarge => (413, Kind::TooLarge, false),
                Reason::NoRoute => (404, Kind::NotFound, false),
                Reason::Forbidden => (403, Kind::Permission, false),
                Reason::Busy => (429, Kind::RateLimit, false),
                Reason::NoInstance
                | Reason::OwnerOut
                | Reason::SpoolFailed
                | Reason::StoreFailed => (503, Kind::Overloaded, false),
                Reason::ConnectFailed => (502, Kind::Server, false),
                Reason::InstanceTimeout | Reason::AnswerIdle => (504, Kind::Timeout, true),
                _ => (502, Kind::Server, true),
            };
            assert_eq!((fault.status, fault.kind, fault.is_final), expected, "{reason:?}");
            assert_eq!(fault.retry_after_s, (reason == Reason::Busy).then_some(1), "{reason:?}");
            for shape in [Shape::OpenAi, Shape::Anthropic] {
                let body = shape.body(&fault, "req_1");
                assert!(!String::from_utf8_lossy(&body).contains("10.0.0.7"), "{reason:?}");
            }
        }
    }

    #[test]
    fn a_refusal_keeps_its_status_text_and_wait() {
        let long = Refusal::client(Reason::BadRequest, 414, "uri_too_long", "Shorten it.");
        let fault = Fault::of_refusal(&long);
        assert_eq!(
            (fault.status, &*fault.code, fault.message.as_str()),
            (414, "uri_too_long", "Shorten it.")
        );
        let out = Refusal::instance(Reason::NoInstance, 503, "x", "Out.").retry_after(7);
        assert_eq!(Fault::of_refusal(&out).retry_after_s, Some(7));
    }

    #[test]
    fn a_wrong_key_is_told_as_openai_tells_it() {
        let refusal = Refusal::client(Reason::Unauthorized, 401, "unauthorized", "Access token …");
        let body = Shape::OpenAi.body(&Fault::of_refusal(&refusal), "");
        let expected = "{\"error\":{\"message\":\"The API key is missing or wrong: send \
                        `Authorization: Bearer <key>`.\",\"type\":\"invalid_request_error\",\
                        \"param\":null,\"code\":\"invalid_api_key\"}}";
        assert_eq!(body, expected);
    }
}
