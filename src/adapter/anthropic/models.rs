//! `GET /v1/models` and `/v1/models/{id}` for Anthropic's clients: all apps on one page.

use bytes::Bytes;
use serde_json::{Value, json};

/// The list of models.
pub fn list<'a>(models: impl IntoIterator<Item = &'a str>) -> Bytes {
    let data: Vec<_> = models.into_iter().map(model).collect();
    let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    let list = json!({"data": data, "has_more": false, "first_id": first, "last_id": last});
    Bytes::from(list.to_string())
}

/// One of them.
pub fn one(id: &str) -> Bytes {
    Bytes::from(model(id).to_string())
}

/// Nobody knows when a model was made; that must not change from call to call.
fn model(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_models() {
        let list: Value = serde_json::from_slice(&list(["a", "b"])).unwrap();
        assert_eq!((&list["first_id"], &list["last_id"]), (&json!("a"), &json!("b")));
        assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
        assert!(super::list([]).starts_with(b"{\"data\":[],\"has_more\":false"));
    }
}
