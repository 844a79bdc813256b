use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Keep, MAX_DEPTH, MAX_ELEMENTS, Object, ParseError, items, object, part, tree};

const NOTHING: Keep<'_> = Keep { named: &[], others: 0 };
/// The field that the tests' parts are in.
const PART: &str = "part";

fn list(items: usize) -> String {
    format!("[{}]", vec!["1"; items].join(","))
}

/// A part that is kept, told, and neither.
fn each(part: &str, look: impl Fn(Result<Option<Object<'_>>, ParseError>)) {
    let body = format!("{{\"{PART}\":{part}}}");
    for (named, others) in [(&[PART][..], 0), (&[], 1), (&[], 0)] {
        look(object(body.as_bytes(), Keep { named, others }));
    }
}

#[test]
fn so_many_elements_are_read_and_not_one_more() {
    // Wherever they are: half of them fields of objects in a list; of the same name, too, which would
    // leave one of them.
    let objects = |count| format!("[{}]", vec!["{\"\":0}"; count].join(","));
    let names = |count| format!("{{{}}}", vec!["\"\":0"; count].join(","));
    // The part itself is one.
    let (most, half) = (MAX_ELEMENTS - 1, MAX_ELEMENTS / 2 - 1);
    for part in [list(most), names(most), objects(half)] {
        each(&part, |read| assert!(read.is_ok()));
    }
    for part in [list(most + 1), names(most + 1), objects(half + 1)] {
        each(&part, |read| assert!(matches!(read, Err(ParseError::TooMany))));
    }
    assert!(matches!(object(list(MAX_ELEMENTS).as_bytes(), NOTHING), Ok(None)));
    let many = list(MAX_ELEMENTS + 1);
    assert!(matches!(object(many.as_bytes(), NOTHING), Err(ParseError::TooMany)));
    // Of several parts together.
    let parts = format!("{{\"a\":{0},\"b\":{0}}}", list(MAX_ELEMENTS / 2));
    assert!(matches!(object(parts.as_bytes(), NOTHING), Err(ParseError::TooMany)));
}

#[test]
fn so_deep_and_no_deeper() {
    let nested = |depth| ["[".repeat(depth), "]".repeat(depth)].concat();
    let objects = |depth| ["{\"a\":".repeat(depth), "1".into(), "}".repeat(depth)].concat();
    // The body itself is one.
    for part in [nested(MAX_DEPTH - 1), objects(MAX_DEPTH - 1)] {
        each(&part, |read| assert!(read.is_ok()));
    }
    for part in [nested(MAX_DEPTH), objects(MAX_DEPTH), nested(2_000_000)] {
        each(&part, |read| assert!(matches!(read, Err(ParseError::TooDeep))));
    }
    assert!(matches!(object(nested(MAX_DEPTH).as_bytes(), NOTHING), Ok(None)));
    let deep = nested(MAX_DEPTH + 1);
    assert!(matches!(object(deep.as_bytes(), NOTHING), Err(ParseError::TooDeep)));
}

#[test]
fn what_follows_the_text_and_what_is_none_is_refused() {
    for text in ["", "[1,]", "{} {}", "nul", "[1e999]", "\u{feff}{}", "{\"a\":1,\"a\"}"] {
        let read = object(text.as_bytes(), NOTHING);
        assert!(matches!(read, Err(ParseError::Syntax(_))), "{text}");
    }
    for part in ["[1,]", "[1e999]", "{\"a\":1,\"a\"}", "[\"\\ud800\"]", "[\"\u{1}\"]", "{1:2}"] {
        each(part, |read| assert!(matches!(read, Err(ParseError::Syntax(_))), "{part}"));
    }
    let invalid = [b"{\"a\":[\"".as_slice(), b"\xff\"]}"].concat();
    assert!(matches!(object(&invalid, NOTHING), Err(ParseError::Syntax(_))));
}

#[test]
fn what_is_broken_is_found_at_its_place_in_the_whole_text() {
    let text = b"{\"a\": 1,\n \"part\": [\n1e999]}";
    for named in [&[PART][..], &[]] {
        let Err(ParseError::Syntax(error)) = object(text, Keep { named, others: 0 }) else {
            panic!("it is broken")
        };
        assert_eq!((error.line(), error.column()), (3, 5));
    }
}

#[test]
fn named_fields_are_kept_and_of_the_others_the_first_ones() {
    let text =
        json!({"a": 1, "n": null, "b": [1], "e": {}, "x y": 1, "w": {"q": 1}, "c": "s", "v": 2});
    let (text, keep) = (text.to_string(), Keep { named: &["v", "w"], others: 2 });
    for some in [part(text.as_bytes(), keep), object(text.as_bytes(), keep).unwrap().unwrap()] {
        assert_eq!(Value::from(some.map), json!({"a": true, "b": true, "w": true, "v": 2}));
        assert_eq!(tree(some.texts["w"]), json!({"q": 1}));
    }
}

#[test]
fn of_fields_of_the_same_name_the_last_one_counts() {
    let keep = Keep { named: &["a"], others: 0 };
    assert_eq!(joined(part(br#"{"a":[1],"a":2}"#, keep)), json!({"a": 2}));
    assert_eq!(joined(part(br#"{"a":1,"a":[2],"a":[3]}"#, keep)), json!({"a": [3]}));
}

#[test]
fn a_list_is_its_items() {
    let texts = |list: &str| {
        let list: Box<RawValue> = serde_json::from_str(list).unwrap();
        items(&list).map(|item| item.get().to_owned()).collect::<Vec<_>>()
    };
    let expected = ["[2]", "1", "null", "\"a]\"", "-1.5e3", "{\"b\" : 3}", "true"];
    assert_eq!(texts(r#"[[2],1 ,null, "a]" , -1.5e3,{"b" : 3},true ]"#), expected);
    assert_eq!(texts("[ ]"), [""; 0]);
    assert_eq!(texts("[[]]"), ["[]"]);
    assert_eq!(texts("{\"a\": [1]}"), [""; 0], "of no list there are none");
}

/// What the fields are in the end.
fn joined(object: Object<'_>) -> Value {
    let Object { mut map, texts } = object;
    for (name, text) in texts {
        let value = tree(text);
        let is_empty = matches!(value.to_string().as_str(), "{}" | "[]");
        let stands = if is_empty { json!([]) } else { json!(true) };
        assert_eq!(map.insert(name, value), Some(stands));
    }
    map.into()
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
    fn within_the_bounds_it_is_the_tree_that_serde_json_makes(
        fields in prop::collection::vec(("[a-d]|.{0,3}", any_json()), 0..8),
    ) {
        let map: Map<String, Value> = fields.into_iter().collect();
        let text = Value::from(map.clone()).to_string();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let mut named: Vec<_> = map.keys().map(String::as_str).collect();
        named.sort_unstable();
        let keep = Keep { named: &named, others: 0 };
        assert_eq!(joined(object(text.as_bytes(), keep).unwrap().unwrap()), expected);
        assert_eq!(joined(part(text.as_bytes(), keep)), expected);
    }
}
