//! The page about these doors is true to their tables.

use super::fields::{Rule, Rules};
use super::{audio, chat, completions};

const PAGE: &str = include_str!("../../../docs/openai.md");

/// The rows of the table below a line of the page: field, and what becomes of it.
fn table(line: &str) -> Vec<(&'static str, &'static str)> {
    let (_, below) = PAGE.split_once(&format!("\n{line}")).unwrap();
    let rows = below.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split_once('|').unwrap())
        .map(|(field, what)| (field.trim().trim_matches('`'), what.trim()))
        .collect()
}

fn word(rule: &Rule) -> &'static str {
    match rule {
        Rule::Mapped => "mapped",
        Rule::Ignored => "ignored",
        Rule::Refused(..) => "refused",
    }
}

#[test]
fn the_page_has_every_field_and_what_becomes_of_it() {
    let doors: [(&str, &Rules); 3] = [
        ("`POST /v1/chat/completions`", chat::RULES),
        ("`POST /v1/completions`", completions::RULES),
        ("`POST /v1/audio/speech`", audio::SPEECH_RULES),
    ];
    for (door, rules) in doors {
        let mut rows = table(door);
        assert_eq!(rows.pop(), Some(("any other", "ignored")), "{door}");
        let named: Vec<_> = rows.iter().map(|(field, _)| *field).collect();
        let known: Vec<_> = rules.iter().map(|(field, _)| *field).collect();
        assert_eq!(named, known, "{door}");
        for ((field, what), (_, rule)) in rows.iter().zip(rules) {
            // Of these two, parts are mapped and parts are not.
            let in_part = matches!(*field, "stream_options" | "metadata") && word(rule) == "mapped";
            assert!(in_part || what.starts_with(word(rule)), "{door}: {field}: {what}");
        }
    }
}
