//! Laws: whatever serde_json reads, the scanner reads the same, in pieces of any size.

use std::collections::HashMap;

use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use serde_json::value::RawValue;

use super::{MAX_USER_CHARS, ScanError, UserScan};

/// The rules, from a parser that builds the whole map.
fn expected(body: &str) -> Result<Option<String>, ()> {
    let body = body.strip_prefix('\u{feff}').unwrap_or(body);
    let map: HashMap<String, Box<RawValue>> = serde_json::from_str(body).map_err(|_| ())?;
    let Some(raw) = map.get("user").map(|value| value.get()) else { return Ok(None) };
    let user = if raw.starts_with('"') {
        serde_json::from_str::<String>(raw).map_err(|_| ())?
    } else if raw == "null" {
        String::new()
    } else {
        raw.to_owned()
    };
    Ok(Some(user).filter(|user| !user.is_empty()))
}

fn scanned(body: &[u8], cuts: &[usize]) -> Result<Option<String>, ScanError> {
    let mut scan = UserScan::new();
    let mut rest = body;
    for cut in cuts.iter().cycle().take(if cuts.is_empty() { 0 } else { body.len() }) {
        let (chunk, after) = rest.split_at((*cut).min(rest.len()));
        scan.feed(chunk)?;
        rest = after;
    }
    scan.feed(rest)?;
    scan.finish()
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z ]{1,5}",
        1 => "[a-z ]{60,140}",
        1 => Just("user".to_owned()),
        2 => prop::sample::select(vec![
            r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0075", r"\u00e9",
            r"\ud83d\ude00", "é", "😀", "{", "}", "[", "]", ":", ",", r#"\"user\": \"x\""#,
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
    ]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => string(),
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

/// Agreement on a body: the same user, or both refuse it, or a limit of ours was met.
fn agree(body: &str, cuts: &[usize]) -> Result<(), TestCaseError> {
    let found = scanned(body.as_bytes(), cuts);
    match expected(body) {
        Ok(Some(user)) if user.chars().count() > MAX_USER_CHARS => {
            prop_assert_eq!(found, Err(ScanError::UserTooLong), "{}", body);
        }
        Ok(user) => prop_assert_eq!(found, Ok(user), "{}", body),
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
    fn a_cut_body_is_never_taken_as_whole(body in body(), at in 0_usize..400) {
        let body = body.trim_end();
        let at = at % body.len();
        prop_assert_eq!(scanned(&body.as_bytes()[..at], &[]).is_err(), true);
    }
}
