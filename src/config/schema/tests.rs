//! The schema says what the reader does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema;
use crate::config::key_table::{Kind, kind};

/// The properties of a definition, or of the root.
fn properties(definition: Option<&str>) -> BTreeSet<String> {
    let schema = schema();
    let object = definition.map_or(&schema, |name| &schema["$defs"][name]);
    object["properties"].as_object().unwrap().keys().cloned().collect()
}

/// The names of all properties, wherever they are.
fn all_properties(value: &Value, names: &mut BTreeSet<String>) {
    if let Some(properties) = value.get("properties").and_then(Value::as_object) {
        names.extend(properties.keys().cloned());
    }
    match value {
        Value::Object(object) => object.values().for_each(|value| all_properties(value, names)),
        Value::Array(items) => items.iter().for_each(|value| all_properties(value, names)),
        _ => {}
    }
}

#[test]
fn the_keys_of_the_minimal_file_are_in_the_schema() {
    let root = properties(None);
    for key in ["listen", "apps", "applications"] {
        assert!(root.contains(key), "{key}");
    }
    assert!(
        properties(Some("App")).is_superset(&["user_tokens", "instances"].map(Into::into).into())
    );
    let instance = properties(Some("Instance"));
    for key in ["name", "host", "port", "url", "token"] {
        assert!(instance.contains(key), "{key}");
    }
}

#[test]
fn every_object_is_closed_and_every_key_described() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap().iter();
    for (name, object) in definitions.chain([(&"root".to_owned(), &schema)]) {
        let Some(properties) = object.get("properties").and_then(Value::as_object) else {
            continue;
        };
        assert_eq!(object["additionalProperties"], false, "{name}");
        for (key, property) in properties {
            let described = property["description"].as_str();
            assert!(described.is_some_and(|text| text.len() > 10), "{name}.{key}");
            assert_ne!(property.get("default"), Some(&Value::Null), "{name}.{key}");
        }
    }
}

#[test]
fn what_must_be_written_is_required() {
    let schema = schema();
    assert_eq!(schema["$defs"]["Instance"]["required"], serde_json::json!(["name", "token"]));
    assert_eq!(schema["$defs"]["App"]["required"], serde_json::json!(["instances"]));
    assert_eq!(schema["$defs"]["Key"]["required"], serde_json::json!(["name"]));
    assert_eq!(schema.get("required"), None);
}

#[test]
fn every_key_is_shown_or_masked_on_purpose() {
    let mut names = BTreeSet::new();
    all_properties(&schema(), &mut names);
    names.retain(|name| kind(name) == Kind::Secret);
    // `tls[].key` is a path, unless somebody writes the key itself there.
    let secrets = ["dataset_token", "key", "redis", "secret", "token", "user_tokens"];
    assert_eq!(names, secrets.map(Into::into).into());
}

#[test]
fn durations_sizes_and_numbers_may_come_from_the_environment() {
    let schema = schema();
    for (definition, key) in
        [("Timeouts", "connect"), ("Limits", "max_body"), ("Retry", "attempts"), ("Queue", "size")]
    {
        let property = &schema["$defs"][definition]["properties"][key];
        let kinds: Vec<_> =
            property["anyOf"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
        assert_eq!(kinds, ["integer", "string"], "{definition}.{key}");
    }
}

#[test]
fn defaults_stand_in_the_schema_as_they_are_written() {
    let schema = schema();
    insta::assert_snapshot!(schema["$defs"]["Limits"]["properties"]["max_body"], @r#"{"anyOf":[{"type":"integer","minimum":0},{"type":"string","pattern":"^[0-9]+ *([KkMmGg][Ii]?)?[Bb]?$|\\$\\{[A-Za-z_][A-Za-z0-9_]*(:?-[^}]*)?\\}"}],"description":"Largest request body; a larger one gets 413.","default":"100MiB"}"#);
    insta::assert_snapshot!(schema["$defs"]["Instance"]["properties"]["fail_timeout"], @r#"{"anyOf":[{"type":"integer","minimum":1,"maximum":604800},{"type":"string","pattern":"^[0-9]+$|^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$|\\$\\{[A-Za-z_][A-Za-z0-9_]*(:?-[^}]*)?\\}"}],"description":"Time in which failures count, and how long it then stays out.","default":"30s"}"#);
    insta::assert_snapshot!(schema["properties"]["consistent_hash"], @r##"{"$ref":"#/$defs/ConsistentHash","description":"The hash ring of every app, for methods that use one.","default":{}}"##);
}
