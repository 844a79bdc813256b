//! The JSON Schema of values with a reader of their own, for `schema_with`. What these accept, the
//! readers in `units` and beside the types do, and a reference to the environment.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

/// A text that names an environment variable.
pub(crate) const REFERENCE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:?-[^}]*)?\}";

pub(crate) fn whole<const MIN: u64, const MAX: u64>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": MIN, "maximum": MAX },
            { "type": "string", "pattern": format!("^[0-9]+$|{REFERENCE}") },
        ],
    })
}

pub(crate) fn max_load(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "number", "minimum": 1, "maximum": 100 },
            { "type": "string", "pattern": format!(r"^off$|^[0-9]+(\.[0-9]{{1,3}})?$|{REFERENCE}") },
        ],
    })
}

pub(crate) fn share(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!(r"^[0-9]+(\.[0-9])? *%$|{REFERENCE}") })
}

pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    seconds(1, 604_800)
}

pub(crate) fn age(_: &mut SchemaGenerator) -> Schema {
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

pub(crate) fn duration_or_zero(_: &mut SchemaGenerator) -> Schema {
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

pub(crate) fn percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": format!("^([1-9][0-9]?|100)%$|{REFERENCE}"),
    })
}

pub(crate) fn path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!("^/|{REFERENCE}") })
}

/// One status from `least` on, or a text of this pattern, or a list of such.
fn status_list(least: u32, pattern: &str) -> Schema {
    let number = json!({ "type": "integer", "minimum": least, "maximum": 599 });
    let text = json!({ "type": "string", "pattern": format!("{pattern}|{REFERENCE}") });
    let one = json!({ "anyOf": [number, text] });
    json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
}

pub(crate) fn probe_expect(_: &mut SchemaGenerator) -> Schema {
    status_list(100, "^dify$|^[1-5][0-9]{2}( *- *[1-5][0-9]{2})?$")
}

pub(crate) fn fail_statuses(_: &mut SchemaGenerator) -> Schema {
    status_list(500, "^5[0-9]{2}$")
}

pub(crate) fn headers(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": secret(generator) })
}

pub(crate) fn size(_: &mut SchemaGenerator) -> Schema {
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

pub(crate) fn size_or_share(_: &mut SchemaGenerator) -> Schema {
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

pub(crate) fn boolean(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "boolean" },
            { "type": "string", "pattern": format!("^([Tt]rue|[Ff]alse|TRUE|FALSE)$|{REFERENCE}") },
        ],
    })
}

pub(crate) fn listen(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!(r"^(\[.*\]|[0-9.]+):[0-9]+$|{REFERENCE}") })
}

pub(crate) fn web_url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": format!("^https?://[^?#@]+$|{REFERENCE}") })
}

pub(crate) fn networks(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!(r"^[0-9A-Fa-f.:]+(/[0-9]+)?$|{REFERENCE}");
    json_schema!({ "type": "array", "items": { "type": "string", "pattern": pattern } })
}

pub(crate) fn system(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!(r"^(auto|ignore|prefix)$|^input:\w{{1,100}}$|{REFERENCE}");
    json_schema!({ "type": "string", "pattern": pattern })
}

/// A secret may be all digits, which an editor takes for a number. By its format it is never shown.
pub(crate) fn secret(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer"], "format": "password" })
}

/// The path of a private key: somebody may write the key itself there.
pub(crate) fn private_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "password" })
}

pub(crate) fn secrets(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "items": secret(generator) })
}
