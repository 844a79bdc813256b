//! Every field of a request, and every sequence of events of an answer.

mod request;
mod response;

use serde_json::{Value, json};

/// A whole request with these fields, or others in their place.
fn request(fields: Value) -> Vec<u8> {
    let mut body = json!({
        "model": "m",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Hi"}],
    });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}
