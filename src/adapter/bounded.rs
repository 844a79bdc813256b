//! A JSON text as a tree of bounded size.
//!
//! A tree takes up to a hundred times the memory of its text: `[1,1,1,…]` of 21 MB became 1.2 GB. So
//! the values are counted while the tree grows, and it is given up at the first one too many. What
//! the bounds leave room for takes some tens of megabytes at the worst, and long strings, which are
//! not counted, take their own size.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::{Map, Value};

/// The most values of a body: items of lists and fields of objects, at any depth.
pub const MAX_ELEMENTS: usize = 100_000;
/// The most objects and lists within each other.
pub const MAX_DEPTH: usize = 64;

/// Why no tree was made of a text.
#[derive(Debug)]
pub(super) enum ParseError {
    /// It is no JSON; where it stops being that.
    Syntax(serde_json::Error),
    /// It has more than [`MAX_ELEMENTS`].
    TooMany,
    /// It is deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Reads a text.
///
/// # Errors
/// It is no JSON, or beyond the bounds.
pub(super) fn parse(text: &[u8]) -> Result<Value, ParseError> {
    let budget = Budget { left: Cell::new(MAX_ELEMENTS), error: Cell::new(None) };
    let mut json = serde_json::Deserializer::from_slice(text);
    let seed = Seed { budget: &budget, depth: 0 };
    let read = seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| match budget.error.take() {
        Some(Bound::Elements) => ParseError::TooMany,
        Some(Bound::Depth) => ParseError::TooDeep,
        None => ParseError::Syntax(error),
    })
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Elements,
    Depth,
}

/// What is left of the bounds, and which was hit.
struct Budget {
    left: Cell<usize>,
    error: Cell<Option<Bound>>,
}

impl Budget {
    fn exceeded<E: serde::de::Error>(&self, bound: Bound) -> E {
        self.error.set(Some(bound));
        E::custom("beyond the bounds")
    }

    fn take_one<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.exceeded(Bound::Elements)),
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    budget: &'a Budget,
    /// Objects and lists around it.
    depth: usize,
}

impl Seed<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(Self { depth: self.depth + 1, ..self }),
            false => Err(self.budget.exceeded(Bound::Depth)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let (inner, mut list) = (self.inner()?, Vec::new());
        while let Some(item) = items.next_element_seed(inner)? {
            self.budget.take_one()?;
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let (inner, mut map) = (self.inner()?, Map::new());
        while let Some(name) = fields.next_key::<String>()? {
            self.budget.take_one()?;
            map.insert(name, fields.next_value_seed(inner)?);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
    use serde_json::Value;

    use super::{MAX_DEPTH, MAX_ELEMENTS, ParseError, parse};

    fn list(items: usize) -> Vec<u8> {
        format!("[{}]", vec!["1"; items].join(",")).into_bytes()
    }

    #[test]
    fn so_many_elements_are_read_and_not_one_more() {
        assert!(matches!(parse(&list(MAX_ELEMENTS)), Ok(Value::Array(_))));
        assert!(matches!(parse(&list(MAX_ELEMENTS + 1)), Err(ParseError::TooMany)));
        // Wherever they are: half of them fields of objects in a list.
        let objects = format!("[{}]", vec!["{\"\":0}"; MAX_ELEMENTS / 2 + 1].join(","));
        assert!(matches!(parse(objects.as_bytes()), Err(ParseError::TooMany)));
        // Of the same name, too, which would leave one of them.
        let names = format!("{{{}}}", vec!["\"\":0"; MAX_ELEMENTS + 1].join(","));
        assert!(matches!(parse(names.as_bytes()), Err(ParseError::TooMany)));
    }

    #[test]
    fn so_deep_and_no_deeper() {
        let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(parse(&nested(MAX_DEPTH + 1)), Err(ParseError::TooDeep)));
        let objects = [b"{\"a\":".repeat(65), b"1".to_vec(), vec![b'}'; 65]].concat();
        assert!(matches!(parse(&objects), Err(ParseError::TooDeep)));
    }

    #[test]
    fn what_follows_the_text_and_what_is_none_is_refused() {
        for text in ["", "[1,]", "{} {}", "nul", "[1e999]", "\u{feff}{}", "{\"a\":1,\"a\"}"] {
            assert!(matches!(parse(text.as_bytes()), Err(ParseError::Syntax(_))), "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((".{0,3}", inner), 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn within_the_bounds_it_is_the_tree_that_serde_json_makes(value in any_json()) {
            let text = value.to_string();
            let expected: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        }
    }
}
