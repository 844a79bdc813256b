//! A JSON object of the client's, in the client's own words: inputs for the app, or metadata.
//!
//! It goes on as it came: what could be in it is Dify's or the client's to say. As a tree of values it
//! would take up to twenty times its text, for as long as Dify has not answered.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// An object with nothing in it.
const EMPTY: &str = "{}";

/// A JSON object as text, checked already.
#[derive(Clone, Debug, Default)]
pub struct ObjectText(Option<Box<RawValue>>);

impl ObjectText {
    /// Of a text that is an object.
    pub(super) fn new(text: &RawValue) -> Self {
        Self(Some(text.to_owned()))
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.as_ref().map_or(EMPTY, |text| text.get())
    }

    /// Whether there is a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        let mut json = serde_json::Deserializer::from_str(self.text());
        // It was read once: no error is left in it.
        json.deserialize_map(HasName(name)).unwrap_or(false)
    }

    /// Writes it, with `more` fields at its end, which have other names.
    pub(super) fn write<T: Serialize>(
        &self,
        more: &[(String, T)],
        json: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let open = self.text().trim_end().strip_suffix('}').unwrap_or("{").trim_end();
        json.extend_from_slice(open.as_bytes());
        for (at, (name, value)) in more.iter().enumerate() {
            if at > 0 || open != "{" {
                json.push(b',');
            }
            serde_json::to_writer(&mut *json, name)?;
            json.push(b':');
            serde_json::to_writer(&mut *json, value)?;
        }
        json.push(b'}');
        Ok(())
    }
}

impl Serialize for ObjectText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(text) => text.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

impl PartialEq for ObjectText {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// Looks for a name in an object.
struct HasName<'a>(&'a str);

impl<'de> Visitor<'de> for HasName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        let mut has = false;
        while let Some(is_it) = fields.next_key_seed(IsName(self.0))? {
            fields.next_value::<IgnoredAny>()?;
            has |= is_it;
        }
        Ok(has)
    }
}

/// Compares a name.
struct IsName<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::ObjectText;

    fn object(text: &str) -> ObjectText {
        ObjectText::new(&RawValue::from_string(text.to_owned()).unwrap())
    }

    fn written(object: &ObjectText, more: &[(&str, u8)]) -> String {
        let more: Vec<_> = more.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let mut json = Vec::new();
        object.write(&more, &mut json).unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn it_goes_out_as_it_came_and_more_stands_at_its_end() {
        let more = [("q", 2), ("\"", 3)];
        for (text, alone, both) in [
            ("{}", "{}", r#"{"q":2,"\"":3}"#),
            ("{ \n }", "{}", r#"{"q":2,"\"":3}"#),
            (
                r#"{"a": {"b" :1e2 } }"#,
                r#"{"a": {"b" :1e2 }}"#,
                r#"{"a": {"b" :1e2 },"q":2,"\"":3}"#,
            ),
        ] {
            assert_eq!(written(&object(text), &[]), alone);
            assert_eq!(written(&object(text), &more), both);
            let tree: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_value(object(text)).unwrap(), tree);
        }
        assert_eq!(written(&ObjectText::default(), &more), r#"{"q":2,"\"":3}"#);
        assert_eq!(serde_json::to_string(&ObjectText::default()).unwrap(), "{}");
    }

    #[test]
    fn names_are_known_however_they_are_written() {
        let object = object(r#"{"qu\u0065ry": {"inner": 1}, "b": "inner"}"#);
        assert!(object.has("query") && object.has("b"));
        assert!(!object.has("inner") && !object.has("quer") && !ObjectText::default().has("query"));
    }
}
