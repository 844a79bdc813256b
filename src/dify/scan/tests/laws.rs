//! Laws: whatever serde_json reads, the scanner reads the same, in pieces of any size.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use uuid::Uuid;

use crate::dify::scan::files::Files;
use crate::dify::scan::{BodyInfo, BodyScanner, MAX_FILES, MAX_USER_CHARS, ScanError, UserSlot};

/// Every `upload_file_id` that is a string, duplicates included.
#[derive(Default)]
struct FileTexts(Vec<String>);

impl<'de> Deserialize<'de> for FileTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = FileTexts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileTexts, A::Error> {
        let mut found = FileTexts::default();
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            match serde_json::from_str::<String>(value.get()) {
                Ok(text) if key == "upload_file_id" => found.0.push(text),
                Ok(_) => {}
                Err(_) => found.0.extend(inside(&value).map_err(A::Error::custom)?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FileTexts, A::Error> {
        let mut found = FileTexts::default();
        while let Some(value) = seq.next_element::<Box<RawValue>>()? {
            found.0.extend(inside(&value).map_err(A::Error::custom)?);
        }
        Ok(found)
    }
}

/// An error for half a surrogate pair, which a value that is passed over may hold.
fn inside(value: &RawValue) -> serde_json::Result<Vec<String>> {
    let text = value.get();
    if !text.starts_with(['{', '[']) {
        return Ok(Vec::new());
    }
    Ok(serde_json::from_str::<FileTexts>(text)?.0)
}

/// The rules, from a parser that builds the whole map.
fn expected(whole: &str) -> Result<BodyInfo, ()> {
    let body = whole.strip_prefix('\u{feff}').unwrap_or(whole);
    serde_json::from_str::<IgnoredAny>(body).map_err(|_| ())?;
    let map: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(body).map_err(|_| ())?;
    let text = |key: &str| {
        let raw = map.get(key)?.get();
        serde_json::from_str::<String>(raw).ok()
    };
    let user = match map.get("user").map(|value| value.get()) {
        None | Some("null") => None,
        Some(raw) if raw.starts_with('"') => Some(text("user").ok_or(())?),
        Some(raw) => Some(raw.to_owned()),
    };
    let uuid = |key: &str| Uuid::try_parse(&text(key)?).ok();
    let conversation = map.get("conversation_id").map(|raw| raw.get());
    let place = conversation.filter(|raw| raw.starts_with('"')).map(|raw| {
        let begin = raw.as_ptr() as u64 - whole.as_ptr() as u64;
        begin..begin + raw.len() as u64
    });
    let mut files = Vec::new();
    for text in serde_json::from_str::<FileTexts>(body).map_err(|_| ())?.0 {
        files.extend(Uuid::try_parse(&text).ok().filter(|id| !files.contains(id)));
    }
    files.truncate(MAX_FILES);
    let user_slot = match map.get("user").map(|raw| raw.get()) {
        Some(raw) => {
            let begin = raw.as_ptr() as u64 - whole.as_ptr() as u64;
            UserSlot::Value(begin..begin + raw.len() as u64)
        }
        None => {
            let end = whole.rfind('}').ok_or(())? as u64;
            if map.is_empty() { UserSlot::Only(end) } else { UserSlot::Before(end) }
        }
    };
    Ok(BodyInfo {
        user_slot,
        user: user.filter(|user| !user.is_empty()),
        conversation_id: uuid("conversation_id"),
        conversation_place: place,
        message_id: uuid("message_id"),
        workflow_id: uuid("workflow_id"),
        is_streamed: text("response_mode").as_deref() == Some("streaming"),
        files: files.into(),
    })
}

fn scanned(body: &[u8], cuts: &[usize]) -> Result<BodyInfo, ScanError> {
    let mut scan = BodyScanner::new();
    let mut rest = body;
    for cut in cuts.iter().cycle().take(if cuts.is_empty() { 0 } else { body.len() }) {
        let (chunk, after) = rest.split_at((*cut).min(rest.len()));
        scan.feed(chunk)?;
        rest = after;
    }
    scan.feed(rest)?;
    scan.finish()
}

/// A few ids, so that some come twice.
fn id() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r#""02b4ca2f-e6b9-4817-9796-79ad0513ede0""#,
        r#""{02B4CA2FE6B94817979679AD0513EDE1}""#,
        r#""02b4ca2f\u002de6b9-4817-9796-79ad0513ed\u00652""#,
        r#""02b4ca2f-e6b9-4817-9796-79ad0513ede""#,
        r#""upload_file_id""#,
        r#""""#,
    ])
    .prop_map(str::to_owned)
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z ]{1,5}",
        1 => "[a-z ]{60,140}",
        1 => Just("user".to_owned()),
        2 => prop::sample::select(vec![
            r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0075", r"\u00e9",
            r"\ud83d\ude00", "é", "😀", "{", "}", "[", "]", ":", ",", r#"\"user\": \"x\""#,
            r#"\"upload_file_id\": \"02b4ca2f-e6b9-4817-9796-79ad0513ede0\""#,
            r#"\"upload_file_id"#, "upload_file_id",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "  ", "\n", "\t\r\n "])
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => string(),
        3 => prop::sample::select(vec![r#""user""#, r#""\u0075ser""#, r#""us\u0065r""#, r#""query""#])
            .prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            r#""upload_file_id""#, r#""conversation_id""#, r#""message_id""#,
            r#""conversation\u005fid""#, r#""mess\u0061ge_id""#,
            r#""workflow_id""#, r#""workflo\u0077_id""#, r#""response_mode""#, r#""response\u005fmode""#,
        ])
        .prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => string(),
        2 => id(),
        1 => prop::sample::select(vec![r#""streaming""#, r#""blocking""#, r#""str\u0065aming""#])
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec!["null", "true", "false", "0", "42", "-1.5e+9", "1E5", "\"\""])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let member = (key(), blank(), inner.clone()).prop_map(|(k, b, v)| format!("{k}:{b}{v}"));
        prop_oneof![
            (blank(), prop::collection::vec(inner, 0..6), prop::sample::select(vec![",", ", "]))
                .prop_map(|(b, items, comma)| format!("[{b}{}{b}]", items.join(comma))),
            (blank(), prop::collection::vec(member, 0..6), prop::sample::select(vec![",", ", "]))
                .prop_map(|(b, items, comma)| format!("{{{b}{}{b}}}", items.join(comma))),
        ]
    })
}

fn body() -> impl Strategy<Value = String> {
    let member = (blank(), key(), blank(), blank(), value(), blank())
        .prop_map(|(a, k, b, c, v, d)| format!("{a}{k}{b}:{c}{v}{d}"));
    (
        prop::sample::select(vec!["", "\u{feff}", " \n"]),
        prop::collection::vec(member, 0..7),
        blank(),
    )
        .prop_map(|(start, members, end)| format!("{start}{{{}}}{end}", members.join(",")))
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![]),
        Just(vec![1]),
        prop::collection::vec(1_usize..9, 1..8),
        prop::collection::vec(1_usize..200, 1..8),
    ]
}

/// Agreement on a body: the same facts, or both refuse it, or a limit of ours was met.
fn agree(body: &str, cuts: &[usize]) -> Result<(), TestCaseError> {
    let found = scanned(body.as_bytes(), cuts);
    match expected(body) {
        Ok(facts) if facts.user.iter().any(|user| user.chars().count() > MAX_USER_CHARS) => {
            prop_assert_eq!(found, Err(ScanError::UserTooLong), "{}", body);
        }
        Ok(facts) => prop_assert_eq!(found, Ok(facts), "{}", body),
        // What the scanner skips it does not check, so it may take what serde_json refuses.
        Err(()) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_valid_body_gives_what_serde_json_gives(body in body(), cuts in cuts()) {
        prop_assert_eq!(expected(&body).is_ok(), true, "the generator is wrong: {}", body);
        agree(&body, &cuts)?;
    }

    #[test]
    fn a_damaged_body_gives_the_same_or_an_error(
        body in body(), cuts in cuts(), at in 0_usize..400, with in "[\\\\\"{}\\[\\],: au0]?",
    ) {
        let mut letters: Vec<char> = body.chars().collect();
        let at = at % letters.len();
        letters.splice(at..=at, with.chars());
        agree(&letters.into_iter().collect::<String>(), &cuts)?;
    }

    #[test]
    fn pieces_of_any_size_give_the_same_result_or_error(
        bytes in prop::collection::vec(prop::sample::select(b"\"\\{}[],: user1\xc3".to_vec()), 0..90),
        cuts in cuts(),
    ) {
        prop_assert_eq!(scanned(&bytes, &cuts), scanned(&bytes, &[]));
    }

    #[test]
    fn nested_bytes_of_any_kind_give_the_same_files_in_pieces(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "\"upload_file_id\"", "upload_file_id", "\"upload_", "file_id\"", "\\", "\"", ":", " ",
                "\"02b4ca2f-e6b9-4817-9796-79ad0513ede0\"", "02b4ca2f-e6b9-4817-9796-79ad0513ede1",
                "\\\"", ",", "{", "}", "xxxxxxxxxxxxxxxxxxxxxxxx", "upload",
            ]),
            0..20,
        ),
        cuts in cuts(),
    ) {
        let found = |cuts: &[usize]| {
            let (text, mut files, mut ids) = (pieces.concat(), Files::default(), SmallVec::new());
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle().take(if cuts.is_empty() { 0 } else { text.len() }) {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                files.feed(chunk, &mut ids);
                rest = after;
            }
            files.feed(rest, &mut ids);
            ids
        };
        prop_assert_eq!(found(&cuts), found(&[]));
    }

    #[test]
    fn a_cut_body_is_never_taken_as_whole(body in body(), at in 0_usize..400) {
        let body = body.trim_end();
        let at = at % body.len();
        prop_assert_eq!(scanned(&body.as_bytes()[..at], &[]).is_err(), true);
    }
}
