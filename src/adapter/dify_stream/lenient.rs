//! Fields of JSON, taken as far as they make sense: a number where a text was, a text where a number
//! was, null or nonsense for either.
//!
//! Dify's own versions differ in this, and its plugins and model providers write into its events. One
//! odd field must not cost the text beside it.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A text, or what else stands there as text; none if it is null.
#[derive(Clone, Debug, Default)]
pub(super) struct Text<'a>(Option<Cow<'a, str>>);

impl Text<'_> {
    /// The text, if there is one that is not empty.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }

    /// Whether there is one, which may be empty.
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The text, which may be empty.
    pub(super) fn or_empty(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }

    pub(super) fn owned(&self) -> Option<String> {
        self.get().map(str::to_owned)
    }
}

/// A whole number that is not negative; none if there is no such thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number(Option<u64>);

impl Number {
    pub(super) fn get(self) -> Option<u64> {
        self.0
    }

    pub(super) fn or_zero(self) -> u64 {
        self.0.unwrap_or(0)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Owned(text))))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.visit_string(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_string(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_string(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.visit_string(value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let value = Value::deserialize(MapAccessDeserializer::new(map))?;
        // An error in place of its text.
        match value.get("message").and_then(Value::as_str) {
            Some(message) => self.visit_str(message),
            None => self.visit_string(value.to_string()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let value = Value::deserialize(SeqAccessDeserializer::new(items))?;
        self.visit_string(value.to_string())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number(Some(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number(u64::try_from(value).ok()))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a fraction is cut off, and what is out of range ends at the range's end"
    )]
    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number((value >= 0.0).then_some(value as u64)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        match (text.trim().parse(), text.trim().parse()) {
            (Ok(whole), _) => self.visit_u64(whole),
            (_, Ok(fraction)) => self.visit_f64(fraction),
            _ => Ok(Number(None)),
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_unit<E: Error>(self) -> Result<Number, E> {
        Ok(Number(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Number(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Number, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Number(None))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Reads a part of an event; what is not as expected is as if it were not there.
pub(super) fn part<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// The items of an array that are as expected.
pub(super) fn items<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Vec<T> {
    let raw: Vec<&RawValue> = part(raw);
    raw.into_iter().filter_map(|item| serde_json::from_str(item.get()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{Number, Text};

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Both<'a> {
        #[serde(borrow)]
        text: Text<'a>,
        number: Number,
    }

    #[test]
    fn a_field_is_taken_as_far_as_it_makes_sense() {
        for (json, text, number) in [
            (r#""a\/\u00e9""#, Some("a/é"), None),
            ("7", Some("7"), Some(7)),
            ("-7", Some("-7"), None),
            ("7.9", Some("7.9"), Some(7)),
            ("1e40", Some("10000000000000000000000000000000000000000"), Some(u64::MAX)),
            ("\"7\"", Some("7"), Some(7)),
            ("\" 7.5 \"", Some(" 7.5 "), Some(7)),
            ("null", None, None),
            ("true", Some("true"), None),
            ("\"\"", None, None),
            (r#"{"message": "why", "x": [1, {}]}"#, Some("why"), None),
            (r#"{"x":[1,{}]}"#, Some(r#"{"x":[1,{}]}"#), None),
            (r#"["a", 1]"#, Some(r#"["a",1]"#), None),
        ] {
            let both = format!(r#"{{"text": {json}, "number": {json}, "other": {json}}}"#);
            let both: Both<'_> = serde_json::from_str(&both).unwrap();
            assert_eq!((both.text.get(), both.number.get()), (text, number), "{json}");
        }
        let none: Both<'_> = serde_json::from_str("{}").unwrap();
        assert_eq!((none.text.get(), none.number.or_zero()), (None, 0));
    }
}
