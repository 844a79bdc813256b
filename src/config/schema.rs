//! The JSON Schema of the configuration, for editors and for the documentation.
//!
//! It is generated from the types, so a key cannot be missing from it. It accepts a little more
//! than the reader: a schema cannot see into an environment variable or a secret's file.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::raw::RawConfig;

/// The JSON Schema of a configuration file, of draft 2020-12.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<RawConfig>();
    without_null_defaults(schema.ensure_object());
    schema.to_value()
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

#[cfg(test)]
mod tests;
