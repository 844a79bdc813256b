//! `${NAME}` and `${NAME:-default}` in a scalar's text.
//!
//! The forms are those of Docker Compose that people know: `${NAME}` must be set (it may be empty),
//! `${NAME:-text}` stands in for an unset or empty one, `${NAME-text}` for an unset one. `$${` gives
//! a plain `${`. A `$` without a brace is left alone, because passwords contain it. Defaults are
//! not expanded again, and none may hold a reference.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Why a text could not be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unexpanded {
    /// The variable is not set and has no default.
    Unset(String),
    /// What stands in the braces is none of the forms, or the brace is not closed.
    Malformed,
}

/// Replaces every reference; borrowed when there was none.
pub(super) fn expand<'t>(
    text: &'t str,
    vars: &BTreeMap<String, String>,
) -> Result<Cow<'t, str>, Unexpanded> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let end = rest[start..].find('}').ok_or(Unexpanded::Malformed)? + start;
        out.push_str(value(&rest[start + 2..end], vars)?);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn value<'t>(body: &'t str, vars: &'t BTreeMap<String, String>) -> Result<&'t str, Unexpanded> {
    let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
    let (name, form) = body.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Unexpanded::Malformed);
    }
    if form.contains("${") {
        return Err(Unexpanded::Malformed);
    }
    let set = vars.get(name).map(String::as_str);
    if form.is_empty() {
        set.ok_or_else(|| Unexpanded::Unset(name.to_owned()))
    } else if let Some(default) = form.strip_prefix(":-") {
        Ok(set.filter(|value| !value.is_empty()).unwrap_or(default))
    } else if let Some(default) = form.strip_prefix('-') {
        Ok(set.unwrap_or(default))
    } else {
        Err(Unexpanded::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Unexpanded, expand};

    fn expanded(text: &str) -> Result<String, Unexpanded> {
        let vars = [("SET", "value"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        expand(text, &vars.into()).map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn the_forms_of_compose_are_understood() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("${SET}", "value"),
            ("a${SET}b${SET}c", "avaluebvaluec"),
            ("${EMPTY}", ""),
            ("${EMPTY:-else}", "else"),
            ("${EMPTY-else}", ""),
            ("${NONE:-else}", "else"),
            ("${NONE-}", ""),
            ("$${SET}", "${SET}"),
            ("pa$$word$", "pa$$word$"),
            ("$SET", "$SET"),
            ("${NONE:-http://h:1}", "http://h:1"),
        ] {
            assert_eq!(expanded(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert_eq!(expanded("${NONE}"), Err(Unexpanded::Unset("NONE".into())));
        for text in
            ["${", "${}", "${SET", "${1A}", "${SET:?needed}", "${SET+x}", "${A B}", "${A:-${B}}"]
        {
            assert_eq!(expanded(text), Err(Unexpanded::Malformed), "{text}");
        }
    }
}
