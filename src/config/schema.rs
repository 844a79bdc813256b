//! The JSON Schema of the configuration, for editors and for the documentation.
//!
//! It is generated from the types, so a key cannot be missing from it. It accepts a little more
//! than the reader: a schema cannot see into an environment variable or a secret's file.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::kept::WrittenStore;
use super::written::{LogFile, Written};

/// A text that names an environment variable.
const REFERENCE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:?-[^}]*)?\}";

/// The JSON Schema of a configuration file, of draft 2020-12.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Written>();
    without_null_defaults(schema.ensure_object());
    schema.to_value()
}

pub(super) fn whole<const MIN: u64, const MAX: u64>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": MIN, "maximum": MAX },
            { "type": "string", "pattern": format!("^[0-9]+$|{REFERENCE}") },
        ],
    })
}

pub(super) fn max_load(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "number", "minimum": 1, "maximum": 100 },
            { "type": "string", "pattern": format!(r"^off$|^[0-9]+(\.[0-9]{{1,3}})?$|{REFERENCE}") },
        ],
    })
}

pub(super) fn share(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!(r"^[0-9]+(\.[0-9])? *%$|{REFERENCE}") })
}

pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    seconds(1, 604_800)
}

pub(super) fn age(_: &mut SchemaGenerator) -> Schema {
    seconds(60, 315_360_000)
}

/// A number of seconds within limits, or text with units.
fn seconds(least: u64, most: u64) -> Schema {
    let units = "([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?";
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            { "type": "string", "pattern": format!("^[0-9]+$|^(?=.){units}$|{REFERENCE}") },
        ],
    })
}

pub(super) fn duration_or_zero(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 86_400 },
            {
                "type": "string",
                "pattern": format!(
                    "^[0-9]+$|^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$|{REFERENCE}"
                ),
            },
        ],
    })
}

pub(super) fn percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": format!("^([1-9][0-9]?|100)%$|{REFERENCE}"),
    })
}

pub(super) fn path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!("^/|{REFERENCE}") })
}

/// One status from `least` on, or a text of this pattern, or a list of such.
fn status_list(least: u32, pattern: &str) -> Schema {
    let number = json!({ "type": "integer", "minimum": least, "maximum": 599 });
    let text = json!({ "type": "string", "pattern": format!("{pattern}|{REFERENCE}") });
    let one = json!({ "anyOf": [number, text] });
    json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
}

pub(super) fn probe_expect(_: &mut SchemaGenerator) -> Schema {
    status_list(100, "^dify$|^[1-5][0-9]{2}( *- *[1-5][0-9]{2})?$")
}

pub(super) fn fail_statuses(_: &mut SchemaGenerator) -> Schema {
    status_list(500, "^5[0-9]{2}$")
}

pub(super) fn headers(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": secret(generator) })
}

pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": 0 },
            {
                "type": "string",
                "pattern": format!("^[0-9]+ *([KkMmGg][Ii]?)?[Bb]?$|{REFERENCE}"),
            },
        ],
    })
}

pub(super) fn size_or_share(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": 1_048_576 },
            {
                "type": "string",
                "pattern": format!("^[0-9]+ *(%|([KkMmGg][Ii]?)?[Bb]?)$|{REFERENCE}"),
            },
        ],
    })
}

pub(super) fn boolean(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "boolean" },
            { "type": "string", "pattern": format!("^([Tt]rue|[Ff]alse|TRUE|FALSE)$|{REFERENCE}") },
        ],
    })
}

pub(super) fn listen(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!(r"^(\[.*\]|[0-9.]+):[0-9]+$|{REFERENCE}") })
}

pub(super) fn web_url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!("^https?://[^?#@]+$|{REFERENCE}") })
}

pub(super) fn networks(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!(r"^[0-9A-Fa-f.:]+(/[0-9]+)?$|{REFERENCE}");
    json_schema!({ "type": "array", "items": { "type": "string", "pattern": pattern } })
}

pub(super) fn system(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!(r"^(auto|ignore|prefix)$|^input:\w{{1,100}}$|{REFERENCE}");
    json_schema!({ "type": "string", "pattern": pattern })
}

/// A secret may be all digits, which an editor takes for a number.
pub(super) fn secret(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer"] })
}

pub(super) fn secrets(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "items": secret(generator) })
}

pub(super) fn access_log(generator: &mut SchemaGenerator) -> Schema {
    let file = generator.subschema_for::<LogFile>();
    json_schema!({ "anyOf": [{ "enum": ["json", "combined", "off"] }, file] })
}

/// The URL of a Redis alone, or the map.
pub(super) fn store(generator: &mut SchemaGenerator) -> Schema {
    let map = generator.subschema_for::<WrittenStore>();
    let url = json!({ "type": "string", "pattern": format!("^redis://|{REFERENCE}") });
    json_schema!({ "anyOf": [url, map] })
}

/// What an app must have; serde does not know, because the checks say it better.
pub(super) fn app(schema: &mut Schema) {
    require(schema, &["instances"]);
    former_name(schema, "ai", "doors");
}

/// What a key must have, which is also either `secret` or `anonymous`.
pub(super) fn key(schema: &mut Schema) {
    require(schema, &["name"]);
    let either = json!([{ "required": ["secret"] }, { "required": ["anonymous"] }]);
    schema.insert("anyOf".to_owned(), either);
}

/// What an instance must have, which is also either `host` or `url`.
pub(super) fn instance(schema: &mut Schema) {
    require(schema, &["name", "token"]);
    schema.insert("oneOf".to_owned(), json!([{ "required": ["host"] }, { "required": ["url"] }]));
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

/// What the types cannot say: both spellings of `apps`, one of them needed, and `x-` keys.
pub(super) fn finish(schema: &mut Schema) {
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
        json!([{ "required": ["apps"] }, { "required": ["applications"] }]),
    );
}

/// An absent default is not `null`: that would be shown as a value one may write.
fn without_null_defaults(object: &mut Map<String, Value>) {
    match object.get_mut("default") {
        Some(Value::Null) => {
            object.shift_remove("default");
        }
        Some(Value::Object(inner)) => inner.retain(|_, value| !value.is_null()),
        _ => {}
    }
    for value in object.values_mut() {
        match value {
            Value::Object(inner) => without_null_defaults(inner),
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(without_null_defaults);
            }
            _ => {}
        }
    }
}
