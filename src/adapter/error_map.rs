//! What Dify refuses, as errors that every protocol can render.
//!
//! A status that would make a client mend its own request is given only where the client can. What
//! is wrong with the key of an app, with its model or with an instance is the operator's: 502, 503
//! or 504, and final where repeating the request is in vain or would run it twice. The clients of
//! OpenAI and Anthropic repeat 408, 409, 429 and every 5xx unless they are told not to.

use serde::Deserialize;

use super::non_dify;
use crate::model::{ErrorKind, GatewayError, Reason};

/// How long a client should wait for a place, in seconds.
const BUSY_S: u32 = 1;

/// The most characters of a model that an error repeats.
const MAX_SHOWN: usize = 256;

/// The start of Dify's 429 for an app that takes no more runs, which it sends as 400.
const TOO_MANY: &str = "Too many requests. Please try again";

/// What Dify 1.5.0 puts before the error of a chatflow's node, which it calls the client's.
const RUN_FAILED: &str = "Run failed: ";

/// Of a 413 without a word of what is too large.
const TOO_LARGE: &str = "The request is too large for Dify.";

impl GatewayError {
    /// An error of Dify's, by its status, code and message, from an answer or from an event.
    pub fn of_dify(status: u16, code: &str, message: &str) -> Self {
        let error = by_code(code, message).unwrap_or_else(|| by_status(status, code, message));
        // Dify has answered, whoever is to mend it.
        error.with_reason(Reason::Answered)
    }

    /// The same, from the body of an answer. What is not Dify's JSON counts by its status alone.
    pub fn of_dify_answer(status: u16, body: &[u8]) -> Self {
        if let Some(error) = non_dify::of_answer(status, body) {
            return error.with_reason(Reason::Answered);
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
        let error = Self::of_dify(status, &body.code, message);
        let param = error.param.clone().or(body.params).filter(|_| error.status == 400);
        Self { param, ..error }
    }

    /// There is no such model, or not for this key: 404. A key is not told which of both.
    pub fn no_model(model: &str) -> Self {
        // It may be as large as a body.
        let shown: String = model.chars().take(MAX_SHOWN).collect();
        let message =
            format!("The model `{shown}` does not exist or you do not have access to it.");
        Self::new(404, ErrorKind::NotFound, "model_not_found", message)
            .with_reason(Reason::NoRoute)
            .with_param("model")
    }
}

fn by_status(status: u16, code: &str, message: &str) -> GatewayError {
    match status {
        400 => of_invalid(code, message),
        401 => upstream_auth(),
        403 => unavailable("The app is switched off or gone."),
        404 => GatewayError::new(404, ErrorKind::NotFound, "not_found", message.to_owned()),
        413 => GatewayError::new(413, ErrorKind::TooLarge, "request_too_large", TOO_LARGE),
        415 => invalid("unsupported_file", message),
        429 => busy(message),
        // What stands before Dify says it of itself when Dify cannot be reached.
        503 => overloaded("The app is not available at the moment."),
        504 => GatewayError::new(
            504,
            ErrorKind::Timeout,
            "upstream_timeout",
            "The app did not answer in time.",
        )
        .for_good(),
        405..=499 => invalid("invalid_value", message),
        _ => GatewayError::new(
            502,
            ErrorKind::Server,
            "upstream_error",
            "Dify failed to run the app.",
        )
        .for_good(),
    }
}

/// What a code means whatever the status: inside a stream all are 400.
fn by_code(code: &str, message: &str) -> Option<GatewayError> {
    Some(match code {
        "invalid_param" if message.starts_with(TOO_MANY) => busy("The app takes no more runs now."),
        // The gateway's own: from 1.13 on a flow waits for a worker.
        "run_not_started" => {
            GatewayError::new(504, ErrorKind::Timeout, "run_not_started", message.to_owned())
                .for_good()
        }
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
            GatewayError::new(503, ErrorKind::Overloaded, code, message).for_good()
        }
        "completion_request_error" => {
            let message = format!("The app's model failed: {message}");
            GatewayError::new(502, ErrorKind::Server, "upstream_model_error", message).for_good()
        }
        "file_too_large" | "audio_too_large" => GatewayError::new(
            413,
            ErrorKind::TooLarge,
            "request_too_large",
            "A file is too large for Dify.",
        ),
        "unsupported_file_type" | "unsupported_audio_type" => invalid("unsupported_file", message),
        "provider_not_support_speech_to_text" => {
            invalid("unsupported_value", "The model has no speech-to-text.")
        }
        "file_access_denied" | "workflow_version_execution_not_allowed" => {
            GatewayError::new(403, ErrorKind::Permission, "permission_denied", message.to_owned())
        }
        _ => return None,
    })
}

/// A 400 whose code does not tell who is wrong.
fn of_invalid(code: &str, message: &str) -> GatewayError {
    if let Some(what) = message.strip_prefix(RUN_FAILED) {
        let message = format!("The app's run failed: {what}");
        return GatewayError::new(502, ErrorKind::Server, "upstream_run_failed", message)
            .for_good();
    }
    if message == "Workflow not published" || message.contains("for ModelConfigEntity") {
        return unavailable("The app is not published, or has no model.");
    }
    // The text goes on with an address inside Dify.
    if message.starts_with("Failed to request plugin daemon") {
        return unavailable("Dify's plugin service does not answer.");
    }
    let error = invalid("invalid_value", message);
    match code {
        // An input of the app is missing or too long.
        "invalid_param" if message.contains("in input form") => {
            GatewayError { param: Some("inputs".to_owned()), ..error }
        }
        _ => error,
    }
}

fn invalid(code: &'static str, message: &str) -> GatewayError {
    GatewayError::new(400, ErrorKind::InvalidRequest, code, message.to_owned())
}

/// Dify does not take the token of the configuration. The client's key is right, so it must not be
/// told otherwise.
fn upstream_auth() -> GatewayError {
    let message = "Dify does not accept the gateway's key for this app.";
    GatewayError::new(502, ErrorKind::Server, "upstream_auth", message.to_owned()).for_good()
}

fn busy(message: &str) -> GatewayError {
    let error =
        GatewayError::new(429, ErrorKind::RateLimit, "rate_limit_exceeded", message.to_owned());
    GatewayError { retry_after_s: Some(BUSY_S), ..error }
}

fn overloaded(message: &str) -> GatewayError {
    let error =
        GatewayError::new(503, ErrorKind::Overloaded, "upstream_unavailable", message.to_owned());
    GatewayError { retry_after_s: Some(BUSY_S), ..error }
}

/// The operator has to mend it.
fn unavailable(message: &str) -> GatewayError {
    GatewayError::new(503, ErrorKind::Overloaded, "upstream_unavailable", message.to_owned())
        .for_good()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let error = GatewayError::of_dify(*status, code, message);
            let found = (error.status, &*error.code, error.is_final);
            assert_eq!(found, *expected, "{status} {code} {message}");
            assert_eq!(error.status == 429, error.kind == ErrorKind::RateLimit, "{code}");
            assert!(!error.message.is_empty() && !error.message.contains("plugin/"), "{code}");
            let waits = error.retry_after_s.is_some();
            assert_eq!(waits, matches!(error.status, 429 | 503) && !error.is_final, "{code}");
        }
    }

    #[test]
    fn inside_a_stream_the_code_counts() {
        let error = GatewayError::of_dify(400, "unauthorized", "x");
        assert_eq!((error.status, &*error.code), (502, "upstream_auth"));
        assert_eq!(error.reason, Reason::Answered);
    }

    #[test]
    fn dify_names_the_field_that_is_wrong() {
        let body = br#"{"code": "invalid_param", "message": "Missing", "params": "query"}"#;
        assert_eq!(GatewayError::of_dify_answer(400, body).param.as_deref(), Some("query"));
        let body = br#"{"code": "invalid_param", "message": "text is required in input form"}"#;
        let error = GatewayError::of_dify_answer(400, body);
        assert_eq!((error.param.as_deref(), error.status), (Some("inputs"), 400));
        let error = GatewayError::of_dify_answer(502, b"<html>nginx</html>");
        assert_eq!((&*error.code, error.param), ("upstream_error", None));
        let error = GatewayError::of_dify_answer(400, b"<html>secret</html>");
        assert_eq!(&*error.code, "upstream_not_dify");
        assert!(!error.message.contains("secret"));
    }
}
