//! What pydantic 2.12 says about a request it does not take, as later releases pass it on.

use crate::pyjson;
use crate::wire::answer::{Answer, Refused};
use serde_json::Value;

/// Characters of a value that are shown whole; of a longer one its two ends.
const SHOWN: usize = 50;

/// One thing that is wrong.
pub(crate) struct Fault<'v> {
    pub(crate) field: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) value: &'v Value,
}

impl Fault<'_> {
    fn text(&self) -> String {
        format!(
            "{}\n  {} [type={}, input_value={}, input_type={}]\n    For further information visit \
             https://errors.pydantic.dev/2.12/v/{}",
            self.field,
            self.message,
            self.kind,
            shown(self.value),
            type_of(self.value),
            self.kind
        )
    }
}

/// 400 for these faults of a request that the class `model` describes.
pub(crate) fn refused(model: &str, faults: &[Fault<'_>]) -> Refused {
    let errors = if faults.len() == 1 { "error" } else { "errors" };
    let texts: Vec<String> = faults.iter().map(Fault::text).collect();
    Box::new(Answer::invalid(&format!(
        "{} validation {errors} for {model}\n{}",
        faults.len(),
        texts.join("\n")
    )))
}

fn shown(value: &Value) -> String {
    let text = pyjson::repr_of(value);
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= SHOWN {
        return text;
    }
    let half = SHOWN / 2;
    let start: String = characters[..half].iter().collect();
    let end: String = characters[characters.len() - (half - 1)..].iter().collect();
    format!("{start}...{end}")
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// What a request may look like.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
}

/// A field of a model and what it must be.
pub(crate) struct Field(pub(crate) &'static str, pub(crate) Need, pub(crate) Rule);

/// Whether a field may be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Must,
    May,
}

/// What a value must be.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Any,
    Dict,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A UUID, or blank; the text is what is said of others.
    Uuid(&'static str),
    /// A whole number in this range.
    Range(i64, i64),
}

/// Holds a request, as an object, to its model.
pub(crate) fn check(model: &Model, given: &Value) -> Result<(), Refused> {
    let faults: Vec<Fault<'_>> =
        model.fields.iter().filter_map(|field| fault(field, given)).collect();
    if faults.is_empty() { Ok(()) } else { Err(refused(model.name, &faults)) }
}

fn fault<'v>(field: &Field, given: &'v Value) -> Option<Fault<'v>> {
    let &Field(name, need, rule) = field;
    let make = |kind, message, value| Some(Fault { field: name, kind, message, value });
    let Some(value) = given.get(name) else {
        return match need {
            Need::Must => make("missing", "Field required".to_owned(), given),
            Need::May => None,
        };
    };
    if value.is_null() && need == Need::May {
        return None;
    }
    match rule {
        Rule::Any => None,
        Rule::Dict if value.is_object() => None,
        Rule::Dict => make("dict_type", "Input should be a valid dictionary".to_owned(), value),
        Rule::Choice(words) if value.as_str().is_some_and(|text| words.contains(&text)) => None,
        Rule::Choice(words) => {
            make("literal_error", format!("Input should be {}", listed(words)), value)
        }
        Rule::Uuid(says) => {
            let text = pyjson::str_of(value);
            let fits = text.trim().is_empty() || uuid::Uuid::parse_str(text.trim()).is_ok();
            if fits { None } else { make("value_error", format!("Value error, {says}"), value) }
        }
        Rule::Range(least, most) => match pyjson::str_of(value).parse::<i64>() {
            Err(_) => make(
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer".to_owned(),
                value,
            ),
            Ok(number) if number < least => make(
                "greater_than_equal",
                format!("Input should be greater than or equal to {least}"),
                value,
            ),
            Ok(number) if number > most => make(
                "less_than_equal",
                format!("Input should be less than or equal to {most}"),
                value,
            ),
            Ok(_) => None,
        },
    }
}

/// `'a', 'b' or 'c'`
fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Model, Need, Rule, check};
    use serde_json::json;

    #[test]
    fn faults_are_told_one_after_the_other_and_long_values_cut() {
        const MODEL: Model = Model {
            name: "Ask",
            fields: &[
                Field("query", Need::Must, Rule::Any),
                Field("mode", Need::May, Rule::Choice(&["a", "b"])),
            ],
        };
        let given = json!({"inputs": {}, "response_mode": "blocking", "user": "alice", "mode": 1});
        let answer = *check(&MODEL, &given).unwrap_err();
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains("2 validation errors for Ask"), "{body}");
        assert!(body.contains("{'inputs': {}, 'response_...er': 'alice', 'mode': 1}"), "{body}");
        assert!(body.contains("Input should be 'a' or 'b' [type=literal_error"), "{body}");
        assert!(check(&MODEL, &json!({"query": "", "mode": null})).is_ok());
    }
}
