//! What the JSON Schema of a map says beyond its keys, for `transform`.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// What an app must have; serde does not know, because the checks say it better.
pub(crate) fn app(schema: &mut Schema) {
    require(schema, &["instances"]);
    former_name(schema, "ai", "doors");
}

/// What a key must have, which is also either `secret` or `anonymous`.
pub(crate) fn key(schema: &mut Schema) {
    require(schema, &["name"]);
    let either = json!([{ "required": ["secret"] }, { "required": ["anonymous"] }]);
    schema.insert("anyOf".to_owned(), either);
}

/// What an instance must have, which is also either `host` or `url`.
pub(crate) fn instance(schema: &mut Schema) {
    require(schema, &["name", "token"]);
    schema.insert("oneOf".to_owned(), json!([{ "required": ["host"] }, { "required": ["url"] }]));
}

/// What an instance of a service must have: either `host` and `port`, or `url`.
pub(crate) fn service_instance(schema: &mut Schema) {
    let either = json!([{ "required": ["host", "port"] }, { "required": ["url"] }]);
    schema.insert("oneOf".to_owned(), either);
}

/// What a route must have.
pub(crate) fn service_route(schema: &mut Schema) {
    require(schema, &["prefix"]);
}

/// Adds the former name of a key, which still works.
fn former_name(schema: &mut Schema, key: &str, former: &str) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(mut property) = properties.get(key).cloned() else { return };
    if let Some(property) = property.as_object_mut() {
        property.insert("description".to_owned(), json!(format!("The former name of `{key}`.")));
        property.insert("deprecated".to_owned(), json!(true));
    }
    properties.insert(former.to_owned(), property);
}

fn require(schema: &mut Schema, keys: &[&str]) {
    schema.insert("required".to_owned(), json!(keys));
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    let properties = properties.into_iter().flat_map(Map::iter_mut);
    for (_, property) in properties.filter(|(key, _)| keys.contains(&key.as_str())) {
        if let Some(property) = property.as_object_mut() {
            property.shift_remove("default");
        }
    }
}

/// What the types cannot say: both spellings of `apps`, one of them needed unless there are `services`,
/// and `x-` keys.
pub(crate) fn finish(schema: &mut Schema) {
    former_name(schema, "ai", "doors");
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(apps) = properties.get_mut("apps").and_then(Value::as_object_mut) {
        let names = json!({ "pattern": "^[A-Za-z0-9._-]{1,64}$" });
        apps.insert("propertyNames".to_owned(), names);
        apps.insert("minProperties".to_owned(), json!(1));
        apps.shift_remove("default");
        let mut other = apps.clone();
        other.insert("description".to_owned(), json!("Another spelling of `apps`."));
        properties.insert("applications".to_owned(), Value::Object(other));
    }
    schema.insert("patternProperties".to_owned(), json!({ "^x-": true }));
    schema.insert(
        "oneOf".to_owned(),
        json!([
            { "required": ["apps"] },
            { "required": ["applications"] },
            {
                "required": ["services"],
                "not": { "anyOf": [{ "required": ["apps"] }, { "required": ["applications"] }] },
            },
        ]),
    );
}
