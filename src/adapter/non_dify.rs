//! Answers that are not Dify's: of a proxy before it, of another server, of a redirect.
//!
//! Dify answers every refusal of its service API with a JSON object that has a `code` or a `message`
//! (1.5.0 to main). Anything else comes from somebody else, whose status means what it means there.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::{ErrorKind, GatewayError};

/// The code of an address that does not lead to Dify.
const NOT_DIFY: &str = "upstream_not_dify";

/// The error of an answer that Dify has not written; none if it is Dify's, or its status says enough.
pub fn of_answer(status: u16, body: &[u8]) -> Option<GatewayError> {
    if (300..400).contains(&status) {
        return Some(redirected());
    }
    if !is_foreign(body) {
        return None;
    }
    match status {
        413 => {
            let message = "The request is too large for Dify, or for the proxy before it.";
            Some(GatewayError::new(413, ErrorKind::TooLarge, "request_too_large", message))
        }
        // A proxy says these of itself, or of a Dify that it cannot reach.
        429 | 500..=599 => None,
        _ => Some(not_dify(status)),
    }
}

/// The error of a page of HTML where Dify has only JSON and streams.
pub fn page() -> GatewayError {
    not_dify(200)
}

/// The error of an address that leads elsewhere. Where to is for the log.
fn redirected() -> GatewayError {
    let message = "The instance's `url` does not lead to Dify: it redirects elsewhere, and the gateway \
                   does not follow redirects. Correct the instance's `url`.";
    GatewayError::new(502, ErrorKind::Server, NOT_DIFY, message).for_good()
}

fn not_dify(status: u16) -> GatewayError {
    let message = format!(
        "The response is not Dify's but another server's (status {status}): check the instance's \
         `url` and any proxy in front of it."
    );
    GatewayError::new(502, ErrorKind::Server, NOT_DIFY, message).for_good()
}

/// Whether a body was not written by Dify. An empty one says nothing of who wrote it.
fn is_foreign(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body {
        code: Option<IgnoredAny>,
        message: Option<IgnoredAny>,
    }
    let body = body.trim_ascii();
    if body.is_empty() {
        return false;
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(body) => body.code.is_none() && body.message.is_none(),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_match_who_answered() {
        let page = b"<html><head><title>413 Request Entity Too Large</title></head></html>";
        for (status, body, expected) in [
            (413, &page[..], Some((413, "request_too_large"))),
            (413, br#"{"code": "file_too_large", "message": "x"}"#, None),
            (301, b"", Some((502, NOT_DIFY))),
            (308, page, Some((502, NOT_DIFY))),
            (404, b"404 page not found\n", Some((502, NOT_DIFY))),
            (404, br#"{"detail": "Not Found"}"#, Some((502, NOT_DIFY))),
            (404, br#"{"code": "not_found", "message": "x"}"#, None),
            (401, page, Some((502, NOT_DIFY))),
            (405, page, Some((502, NOT_DIFY))),
            (400, br#"{"message": "x"}"#, None),
            (401, b"", None),
            (429, page, None),
            (502, page, None),
        ] {
            let found = of_answer(status, body);
            let found = found.as_ref().map(|error| (error.status, &*error.code));
            assert_eq!(found, expected, "{status} {}", String::from_utf8_lossy(body));
        }
        assert!(of_answer(413, page).unwrap().message.contains("too large for Dify"));
        assert!(of_answer(302, b"").unwrap().message.contains("redirects"));
        assert!(page_error_is_final());
    }

    fn page_error_is_final() -> bool {
        super::page().is_final
    }
}
