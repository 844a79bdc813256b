//! Full-width punctuation, as input methods for Chinese give it, where YAML needs its own.
//!
//! YAML takes `token：x` for one word, so what it says of it leads astray: instead of that, each such place
//! is named. Only a text that is wrong anyway is searched.

use super::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use super::key_table::{is_foreign_name, is_known_key};

/// Names full-width colons behind keys, and drops the errors that follow from them.
pub(super) fn find(text: &str, sink: &mut DiagnosticSink) {
    if !sink.has_errors() || !text.contains('：') {
        return;
    }
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.split(" #").next().unwrap_or_default();
        for (at, colon) in content.match_indices('：') {
            if stands_behind_key(&content[..at]) {
                found.push(start + at..start + at + colon.len());
            }
        }
        start += line.len();
    }
    if found.is_empty() {
        return;
    }
    sink.drop_errors();
    for place in found {
        let message = "this is a full-width colon `：`, and YAML needs `:`";
        let hint = "write `: `, with a blank behind it";
        sink.add(DiagnosticBuilder::error(place, message).hint(hint));
    }
}

/// Whether a line so far is a key and nothing else, or ends so after a bracket or a comma.
fn stands_behind_key(before: &str) -> bool {
    let last = before.rsplit(['{', ',', '，']).next().unwrap_or_default();
    let word = last.trim_start_matches([' ', '-', '　']).trim_matches(['"', '\'']);
    is_known_key(word) || is_foreign_name(word) || super::key_table::is_name(word)
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, Style, parse};

    #[test]
    fn a_full_width_colon_is_named_where_it_stands_and_no_secret_is_shown() {
        let text = "listen：127.0.0.1:8080\napps:\n  智能客服：\n    user_tokens: [\"客：服\"]\n    \
                    instances:\n      - { name: a, host: h, token：app-secret }\n";
        let found = parse("gateway.yaml", text, &Environment::default()).unwrap_err();
        let places: Vec<_> = found.to_string().lines().map(str::to_owned).collect();
        assert_eq!(places.len(), 3, "{found}");
        for (line, place) in places.iter().zip(["1:7", "3:7", "6:34"]) {
            assert!(
                line.starts_with(&format!(
                    "gateway.yaml:{place}: error: this is a full-width colon"
                )),
                "{line}"
            );
        }
        let shown = found.render(Style::Plain);
        assert!(!shown.contains("secret") && shown.contains("智能客服："), "{shown}");
        assert!(shown.contains("token：***"), "{shown}");
    }

    #[test]
    fn one_in_a_value_is_none_of_our_business() {
        let text = "apps: { shop: { aliases: [\"客：服\"], user_tokens: [\"user-token\"], instances: \
                    [{ name: a, host: h, token: app-of-a }] } }\n";
        assert!(parse("gateway.yaml", text, &Environment::default()).is_ok());
        let wrong = parse("gateway.yaml", &text.replace("host", "hots"), &Environment::default());
        assert!(wrong.unwrap_err().to_string().contains("hots"));
    }
}
