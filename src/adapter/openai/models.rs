//! `GET /v1/models` and `/v1/models/{id}`: apps as models.

use bytes::Bytes;
use serde_json::{Value, json};

/// The list of models: id, and since when there is one, in seconds since 1970. That must not change
/// from call to call, or clients take it for a new list.
pub fn list<'a>(models: impl IntoIterator<Item = (&'a str, u64)>) -> Bytes {
    let data: Vec<_> = models.into_iter().map(|(id, created_s)| model(id, created_s)).collect();
    Bytes::from(json!({"object": "list", "data": data}).to_string())
}

/// One of them.
pub fn one(id: &str, created_s: u64) -> Bytes {
    Bytes::from(model(id, created_s).to_string())
}

fn model(id: &str, created_s: u64) -> Value {
    json!({"id": id, "object": "model", "created": created_s, "owned_by": "dify"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::protocol::Protocol;
    use crate::model::GatewayError;

    #[test]
    fn apps_are_models() {
        let one_text =
            "{\"id\":\"a/b \\\"c\\\"\",\"object\":\"model\",\"created\":7,\"owned_by\":\"dify\"}";
        assert_eq!(one("a/b \"c\"", 7), one_text);
        let two = "{\"id\":\"x\",\"object\":\"model\",\"created\":8,\"owned_by\":\"dify\"}";
        let both = format!("{{\"object\":\"list\",\"data\":[{one_text},{two}]}}");
        assert_eq!(list([("a/b \"c\"", 7), ("x", 8)]), both);
        assert_eq!(list([]), "{\"object\":\"list\",\"data\":[]}");
    }

    #[test]
    fn an_unknown_model_is_named() {
        let error = GatewayError::no_model("x");
        assert_eq!(error.status, 404);
        assert_eq!(
            Protocol::OpenAi.body(&error, ""),
            "{\"error\":{\"message\":\"The model `x` does not exist or you do not have access to \
             it.\",\"type\":\"invalid_request_error\",\"param\":\"model\",\
             \"code\":\"model_not_found\"}}"
        );
    }
}
