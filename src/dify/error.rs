//! How Dify says no, byte for byte, so that a client cannot tell the gateway's refusals from
//! Dify's by their shape.
//!
//! Dify has several shapes of error; this is the one that it means: `{"code", "message",
//! "status"}`, printed as Python prints JSON, with a line end behind it.

use std::fmt::Write;

use bytes::Bytes;

use crate::sse;

/// The 401 of Dify 1.5.0 for a request without `Authorization` or without a scheme in it.
pub const UNAUTHORIZED_NO_KEY: &str =
    "Authorization header must be provided and start with 'Bearer'";

/// The 401 of Dify 1.5.0 for another scheme than `Bearer`, whose case does not matter.
pub const UNAUTHORIZED_SCHEME: &str = "Authorization scheme must be 'Bearer'";

/// The 401 of Dify 1.5.0 for an unknown key, and for two `Authorization` headers.
pub const UNAUTHORIZED_KEY: &str = "Access token is invalid";

/// The code of all three.
pub const UNAUTHORIZED: &str = "unauthorized";

/// Dify's error body: `{"code": "unauthorized", "message": "…", "status": 401}` and a line end.
/// Its content type is `application/json`.
pub fn body(code: &str, message: &str, status: u16) -> Bytes {
    let mut text = String::with_capacity(48 + code.len() + message.len());
    text.push_str("{\"code\": ");
    push_string(&mut text, code);
    text.push_str(", \"message\": ");
    push_string(&mut text, message);
    push_number(&mut text, ", \"status\": ", i64::from(status));
    text.push_str("}\n");
    text.into()
}

/// The last event of a stream that broke, as Dify 1.5.0 ends a failed run.
///
/// Fields that the gateway did not learn are left out and not null: Dify itself leaves out
/// `conversation_id` for completion apps, so a client that reads this event at all can live
/// without it, while a typed one may well stumble over a null.
#[derive(Clone, Copy, Debug)]
pub struct StreamError<'a> {
    /// Of chat apps only.
    pub conversation_id: Option<&'a str>,
    /// Of chat and completion apps.
    pub message_id: Option<&'a str>,
    /// When the message was made, in seconds since 1970, as earlier events had it.
    pub created_at: Option<i64>,
    /// Dify's code, such as `completion_request_error`.
    pub code: &'a str,
    /// The status that a blocking call would have had; Dify 1.5.0 sends 400 for failed models and
    /// 500 for its own faults. The HTTP status of the stream was 200.
    pub status: u16,
    /// For the client.
    pub message: &'a str,
}

impl StreamError<'_> {
    /// The event as it goes on the wire: `data: {"event": "error", …}` and a blank line.
    ///
    /// If the stream broke in the middle of an event, that must be ended first with a blank line.
    pub fn event(&self) -> Bytes {
        let mut text = String::with_capacity(192 + self.message.len());
        text.push_str("{\"event\": \"error\"");
        let ids = [("conversation_id", self.conversation_id), ("message_id", self.message_id)];
        for (name, id) in ids {
            if let Some(id) = id {
                push_member(&mut text, name, id);
            }
        }
        if let Some(seconds) = self.created_at {
            push_number(&mut text, ", \"created_at\": ", seconds);
        }
        push_member(&mut text, "code", self.code);
        push_number(&mut text, ", \"status\": ", i64::from(self.status));
        push_member(&mut text, "message", self.message);
        text.push('}');
        let mut event = Vec::with_capacity(text.len() + 8);
        sse::push_event(&mut event, None, &text);
        event.into()
    }
}

fn push_member(out: &mut String, name: &str, value: &str) {
    out.push_str(", \"");
    out.push_str(name);
    out.push_str("\": ");
    push_string(out, value);
}

fn push_number(out: &mut String, before: &str, number: i64) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{before}{number}");
}

/// A JSON string as Python's `json.dumps` prints it: all but printable ASCII as `\u` and
/// four digits.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(letter),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{
        StreamError, UNAUTHORIZED, UNAUTHORIZED_KEY, UNAUTHORIZED_NO_KEY, UNAUTHORIZED_SCHEME, body,
    };

    #[test]
    fn the_three_401_bodies_are_those_recorded() {
        for (message, length, text) in [
            (
                UNAUTHORIZED_NO_KEY,
                116,
                "{\"code\": \"unauthorized\", \"message\": \"Authorization header must be provided \
                 and start with 'Bearer'\", \"status\": 401}\n",
            ),
            (
                UNAUTHORIZED_SCHEME,
                92,
                "{\"code\": \"unauthorized\", \"message\": \"Authorization scheme must be \
                 'Bearer'\", \"status\": 401}\n",
            ),
            (
                UNAUTHORIZED_KEY,
                78,
                "{\"code\": \"unauthorized\", \"message\": \"Access token is invalid\", \
                 \"status\": 401}\n",
            ),
        ] {
            let body = body(UNAUTHORIZED, message, 401);
            assert_eq!(body, text);
            assert_eq!(body.len(), length);
        }
    }

    #[test]
    fn text_is_escaped_as_python_does() {
        let body = body("x", "a\"b\\c\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}/é你😀~", 400);
        let text = r#"a\"b\\c\n\r\t\b\f\u0000\u001f\u007f/\u00e9\u4f60\ud83d\ude00~"#;
        let whole = format!("{{\"code\": \"x\", \"message\": \"{text}\", \"status\": 400}}\n");
        assert_eq!(body, whole);
    }

    #[test]
    fn the_error_event_is_the_one_recorded() {
        let event = StreamError {
            conversation_id: Some("ccce3d89-8f8a-4890-8372-f80e642cfc62"),
            message_id: Some("f629047a-26bf-4b6b-bb4a-280a73efdbf9"),
            created_at: Some(1_795_249_441),
            code: "completion_request_error",
            status: 400,
            message: "[fake] died in the middle",
        };
        assert_eq!(
            event.event(),
            "data: {\"event\": \"error\", \"conversation_id\": \
             \"ccce3d89-8f8a-4890-8372-f80e642cfc62\", \"message_id\": \
             \"f629047a-26bf-4b6b-bb4a-280a73efdbf9\", \"created_at\": 1795249441, \"code\": \
             \"completion_request_error\", \"status\": 400, \"message\": \"[fake] died in the \
             middle\"}\n\n"
        );
    }

    #[test]
    fn unknown_fields_of_the_error_event_are_left_out() {
        let event = StreamError {
            conversation_id: None,
            message_id: None,
            created_at: None,
            code: "internal_server_error",
            status: 500,
            message: "a\nb",
        };
        assert_eq!(
            event.event(),
            "data: {\"event\": \"error\", \"code\": \"internal_server_error\", \"status\": 500, \
             \"message\": \"a\\nb\"}\n\n"
        );
    }
}
