//! Checks the tables of a protocol's page in docs/ against what its code does.

use serde_json::{Value, json};

use crate::model::GatewayError;

/// The fields of a body that a protocol ignores.
pub(super) type Ignores = fn(&Value) -> Result<Vec<String>, GatewayError>;

/// The rows of the table below a heading: field, and what becomes of it.
pub(super) fn table<'a>(page: &'a str, heading: &str) -> Vec<(&'a str, &'a str)> {
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = below.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split_once('|').unwrap())
        .map(|(field, what)| (field.trim().trim_matches('`'), what.trim()))
        .collect()
}

/// Tries every field of a table of the page with a value that it would be ignored, refused or found
/// wrong with. `samples` has those that need another value than the number 1.
pub(super) fn is_true(
    (page, heading): (&str, &str),
    least: &Value,
    samples: &Value,
    ignores: Ignores,
) {
    let always = ignores(least).unwrap();
    let mut rows = table(page, heading);
    assert_eq!(rows.pop(), Some(("any other", "ignored")));
    for (field, what) in rows {
        let with = |value: Value| {
            let mut body = least.clone();
            match field.split_once('.') {
                Some((outer, inner)) => body[outer] = json!({inner: value}),
                None => body[field] = value,
            }
            ignores(&body)
        };
        let sample = samples.get(field).cloned().unwrap_or_else(|| json!(1));
        let word = what.split([' ', ':', ';', ',', '.']).next().unwrap();
        match word {
            "ignored" => {
                let mut expected = always.clone();
                if !expected.iter().any(|known| known == field) {
                    expected.push(field.to_owned());
                }
                assert_eq!(with(sample).unwrap(), expected, "{field}");
            }
            "refused" => {
                let error = with(sample).unwrap_err();
                assert_eq!(error.code, "unsupported_parameter", "{field}");
                assert!(error.param.unwrap().starts_with(field), "{field}");
            }
            "mapped" => {
                // No field may be a list that holds a number, so who reads it refuses it.
                let error = with(json!([1])).unwrap_err();
                assert!(error.param.unwrap().starts_with(field), "{field}");
            }
            _ => panic!("`{field}` is neither mapped nor ignored nor refused: {what}"),
        }
    }
}
