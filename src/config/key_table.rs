//! Keys, what values they have, and so what of a text may be shown.
//!
//! The table is made of the JSON Schema, and so of the types: a value is shown only if its type is plain.
//! Secrets have a type of their own, which the schema marks as `format: password`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use super::schema::schema;
use crate::model::value_schema;

/// What values a key has, and so whether the text after it may be shown. Where one name stands for
/// several keys, the last of their kinds counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A value that is no secret.
    Open,
    /// A list of values that are no secrets.
    OpenList,
    /// Holds other keys.
    Structure,
    /// A number, or headers by their names, whose values may be secrets.
    Headers,
    /// Holds apps by their names.
    Apps,
    /// Everything else, above all keys nobody has thought of.
    Secret,
}

static KINDS: LazyLock<HashMap<String, Kind>> = LazyLock::new(|| kinds(&schema()));

/// Every key of a schema.
fn kinds(schema: &Value) -> HashMap<String, Kind> {
    let definitions = schema["$defs"].as_object();
    let maps = definitions.into_iter().flat_map(Map::values).chain([schema]);
    // What YAML merges is a map.
    let mut kinds = HashMap::from([("<<".to_owned(), Kind::Structure)]);
    for (key, property) in maps.filter_map(|map| map["properties"].as_object()).flatten() {
        let kind = kind_of(property, schema);
        let known = kinds.entry(key.clone()).or_insert(kind);
        *known = kind.max(*known);
    }
    kinds
}

/// What a property's schema says of its values.
fn kind_of(property: &Value, schema: &Value) -> Kind {
    if property["format"] == "password" {
        return Kind::Secret;
    }
    if let Some(target) = property["$ref"].as_str() {
        let name = target.trim_start_matches("#/$defs/");
        return schema["$defs"].get(name).map_or(Kind::Secret, |map| kind_of(map, schema));
    }
    if property.get("properties").is_some() {
        return Kind::Structure;
    }
    if let Some(values) = property.get("additionalProperties").filter(|values| values.is_object()) {
        return match kind_of(values, schema) {
            Kind::Secret => Kind::Headers,
            _ => Kind::Apps,
        };
    }
    if let Some(items) = property.get("items") {
        return match kind_of(items, schema) {
            Kind::Open => Kind::OpenList,
            kind => kind,
        };
    }
    if let Some(forms) = property["anyOf"].as_array() {
        let forms = forms.iter().filter(|form| form["type"] != "null");
        return kind_of_forms(forms.map(|form| kind_of(form, schema)).collect());
    }
    let is_plain = ["type", "enum", "oneOf", "const"].iter().any(|key| property.get(key).is_some());
    if is_plain { Kind::Open } else { Kind::Secret }
}

/// Several forms of one value: the short one decides, but where it is a secret.
fn kind_of_forms(forms: Vec<Kind>) -> Kind {
    let is_secret = forms.contains(&Kind::Secret);
    let kinds = forms.into_iter().filter(|kind| match is_secret {
        true => matches!(kind, Kind::Structure | Kind::Headers | Kind::Apps),
        false => true,
    });
    kinds.min().unwrap_or(Kind::Secret)
}

static DURATIONS: LazyLock<HashSet<String>> = LazyLock::new(|| durations(&schema()));

/// The keys whose values are durations.
fn durations(schema: &Value) -> HashSet<String> {
    let mut generator = SchemaGenerator::default();
    let readers = [value_schema::duration, value_schema::duration_or_zero, value_schema::age];
    let kinds = readers.map(|reader| reader(&mut generator).to_value()["anyOf"].clone());
    let definitions = schema["$defs"].as_object();
    let maps = definitions.into_iter().flat_map(Map::values).chain([schema]);
    let properties = maps.filter_map(|map| map["properties"].as_object()).flatten();
    let all = properties.filter(|(_, property)| kinds.contains(&property["anyOf"]));
    all.map(|(key, _)| key.clone()).collect()
}

/// Whether a key's values are durations.
pub(super) fn is_duration(key: &str) -> bool {
    DURATIONS.contains(key)
}

/// Whether a key is one of a configuration.
pub(super) fn is_known_key(key: &str) -> bool {
    KINDS.contains_key(key)
}

/// Whether a text is a name in another script, such as `智能客服`: no secret has such letters, since none
/// could be sent.
pub(super) fn is_foreign_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_foreign = text.chars().any(|c| !c.is_ascii() && c.is_alphabetic());
    is_foreign && text.chars().count() <= 64 && text.chars().all(fits)
}

/// What kind of values a key has.
pub(super) fn kind(key: &str) -> Kind {
    if key.starts_with("x-") {
        return Kind::Structure;
    }
    KINDS.get(key).copied().unwrap_or(Kind::Secret)
}

/// The key, if it looks like one: short and of letters. A token that has slipped into a key's place
/// has digits or is long, and must not be repeated.
pub(super) fn shown_key(key: &str) -> Option<&str> {
    let letters = key.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    let is_word = letters && !key.is_empty() && key.len() <= 24 && !begins_as_key(key);
    (is_word || KINDS.contains_key(key)).then_some(key)
}

/// Whether it begins as Dify's keys do: those of apps and of the knowledge API.
fn begins_as_key(text: &str) -> bool {
    ["app-", "dataset-"].iter().any(|start| text.starts_with(start))
}

/// Whether a value looks like a key of Dify, in whatever place it stands: a name has no such end.
pub(super) fn is_dify_key(value: &str) -> bool {
    let end = value.split_once('-').map_or("", |(_, end)| end);
    begins_as_key(value) && end.len() >= 16 && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a text is a name as apps and instances have them: 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Kind, kind, kinds, shown_key};

    #[test]
    fn what_nobody_has_thought_of_is_a_secret() {
        for key in ["token", "user_tokens", "secret", "api_key", "tokn", "anything"] {
            assert_eq!(kind(key), Kind::Secret, "{key}");
        }
    }

    #[test]
    fn a_value_is_shown_only_if_every_type_that_it_may_have_is_plain() {
        let secret = json!({ "type": ["string", "integer"], "format": "password" });
        let schema = json!({
            "properties": {
                "text": { "type": "string" },
                "list": { "type": "array", "items": { "type": "string" } },
                "password": secret,
                "passwords": { "type": "array", "items": secret },
                "headers": { "type": "object", "additionalProperties": secret },
                "text_or_map": { "anyOf": [{ "enum": ["a"] }, { "$ref": "#/$defs/Map" }] },
                "secret_or_map": { "anyOf": [secret, { "$ref": "#/$defs/Map" }] },
                "secret_or_text": { "anyOf": [{ "type": "string" }, secret] },
                "anything": true,
                "nowhere": { "$ref": "#/$defs/Nothing" },
            },
            "$defs": { "Map": { "properties": { "password": { "type": "string" } } } },
        });
        let kinds = kinds(&schema);
        for (key, kind) in [
            ("text", Kind::Open),
            ("list", Kind::OpenList),
            ("password", Kind::Secret),
            ("passwords", Kind::Secret),
            ("headers", Kind::Headers),
            ("text_or_map", Kind::Open),
            ("secret_or_map", Kind::Structure),
            ("secret_or_text", Kind::Secret),
            ("anything", Kind::Secret),
            ("nowhere", Kind::Secret),
        ] {
            assert_eq!(kinds[key], kind, "{key}");
        }
    }

    #[test]
    fn a_token_in_the_place_of_a_key_is_not_shown() {
        assert_eq!(shown_key("app-f00"), None);
        assert_eq!(shown_key("dataset-abcdefghijkl"), None);
        assert_eq!(shown_key("dataset_token"), Some("dataset_token"));
        assert_eq!(shown_key("abcdefghijklmnopqrstuvwxyz"), None);
        assert_eq!(shown_key("user_tokens"), Some("user_tokens"));
    }
}
