//! What the parts of a configuration are written with: values as YAML, and what is to be said of them.

use std::collections::BTreeSet;

use super::places::mark;
use super::remark::Remark;
use super::value::{Field, Kind, Part, Spot, Value};

/// From so many on, a number for a pause between checks is one of milliseconds: `lua-resty-upstream-healthcheck`
/// has those, and nobody waits so many seconds.
const MILLISECONDS_FROM: f64 = 500.0;

/// Bytes of a result; a file of the largest size gives fewer.
const LONGEST: usize = 8 << 20;
/// What is said of a file at most, about.
const MOST_REMARKS: usize = 10_000;

#[derive(Default)]
pub(super) struct Writer {
    /// The YAML, with marks of where it comes from.
    pub(super) out: String,
    pub(super) faults: Vec<Remark>,
    /// What was left out or made otherwise.
    pub(super) remarks: Vec<Remark>,
    pub(super) variables: BTreeSet<String>,
}

impl Writer {
    pub(super) fn fault(&mut self, at: Spot, message: impl Into<String>, hint: &'static str) {
        let message = message.into();
        self.faults.push(Remark { line: at.0, column: at.1, message, hint: Some(hint) });
    }

    pub(super) fn remark(&mut self, at: Spot, message: impl Into<String>, hint: &'static str) {
        let message = message.into();
        self.remarks.push(Remark { line: at.0, column: at.1, message, hint: Some(hint) });
    }

    /// Whether no more is written: tables that stand in many places make much of a short file.
    pub(super) fn is_full(&mut self, at: Spot) -> bool {
        let is_full =
            self.out.len() > LONGEST || self.faults.len() + self.remarks.len() > MOST_REMARKS;
        if is_full {
            let hint = "import a part of the file at a time, and put the results together";
            self.fault(at, "the result gets too long here", hint);
        }
        is_full
    }

    pub(super) fn ignore(&mut self, field: &Field) {
        let message = format!("{} has no counterpart and was left out", shown(&field.key));
        self.remark(field.at, message, "`difygate schema` lists the keys that there are");
    }

    /// `key: value` for what has the same meaning in both.
    pub(super) fn pair(&mut self, key: &str, field: &Field, kind: Written) -> Option<String> {
        let text = match kind {
            Written::Text => self.text(key, &field.value),
            Written::Whole => self.whole(key, &field.value),
            Written::Seconds => self.seconds(key, &field.value),
            Written::Pause => self.pause(key, &field.value),
            Written::Boolean => self.boolean(key, &field.value),
        }?;
        Some(format!("{}{key}: {}{text}", mark(field.at), mark(field.value.at)))
    }

    fn whole(&mut self, key: &str, value: &Value) -> Option<String> {
        match value.kind {
            Kind::Number(number) if number.fract() == 0.0 => Some(number.to_string()),
            Kind::Number(_) => {
                let message = format!("`{key}` is not a whole number");
                self.fault(value.at, message, "write a whole number; only their relation counts");
                None
            }
            _ => self.text(key, value),
        }
    }

    /// A number of seconds, or of milliseconds where it is large.
    fn pause(&mut self, key: &str, value: &Value) -> Option<String> {
        match value.kind {
            Kind::Number(number) if number >= MILLISECONDS_FROM => {
                let message = format!("`{key}` was taken for milliseconds");
                self.remark(value.at, message, "where it is seconds, write it in the result");
                Some(format!("{number:.0}ms"))
            }
            _ => self.seconds(key, value),
        }
    }

    /// A number of seconds; a text stays as it is.
    fn seconds(&mut self, key: &str, value: &Value) -> Option<String> {
        match value.kind {
            Kind::Number(seconds) if seconds.fract() != 0.0 => {
                Some(format!("{:.0}ms", seconds * 1000.0))
            }
            Kind::Number(seconds) => Some(format!("{seconds}s")),
            _ => self.text(key, value),
        }
    }

    fn boolean(&mut self, key: &str, value: &Value) -> Option<String> {
        let Kind::Bool(is) = value.kind else {
            self.fault(value.at, format!("`{key}` is neither true nor false"), "write one of them");
            return None;
        };
        Some(is.to_string())
    }

    /// A text for YAML: its own `${` are kept from being taken for references.
    pub(super) fn text(&mut self, key: &str, value: &Value) -> Option<String> {
        if let Kind::Number(number) = value.kind {
            return Some(quoted(&number.to_string()));
        }
        let Kind::Text(parts) = &value.kind else {
            self.unreadable(key, value);
            return None;
        };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Literal(literal) => text.push_str(&literal.replace("${", "$${")),
                Part::Variable(..) if text.ends_with('$') => {
                    self.fault(
                        value.at,
                        format!("`{key}` has a `$` before a variable"),
                        "write it out",
                    );
                }
                Part::Variable(name, None) => {
                    self.variables.insert(name.clone());
                    text.push_str(&format!("${{{name}}}"));
                }
                Part::Variable(name, Some(default)) => {
                    text.push_str(&format!("${{{name}:-{default}}}"));
                }
            }
        }
        let is_plain = ["name", "fail_timeout", "interval", "timeout", "method"].contains(&key);
        Some(if is_plain { plain(&text) } else { quoted(&text) })
    }

    pub(super) fn unreadable(&mut self, key: &str, value: &Value) {
        let key = shown(key);
        let (what, hint) = match &value.kind {
            Kind::Unknown(what) => (
                *what,
                "nothing is run: write the value itself, or \
                                            `os.getenv(\"NAME\")`, in its place",
            ),
            Kind::Nil => ("nil", "write a value"),
            Kind::Bool(_) => ("true or false", "write a value of the right kind"),
            Kind::Number(_) | Kind::Text(_) => ("a single value", "write a table, `{ … }`"),
            Kind::Table(_) => ("a table", "write a single value"),
        };
        self.fault(value.at, format!("the value of {key} cannot be used: it is {what}"), hint);
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written {
    Text,
    Whole,
    Seconds,
    Pause,
    Boolean,
}

/// A key as it may be shown: what does not look like a name may be a misplaced secret.
pub(super) fn shown(key: &str) -> String {
    let named = key.len() <= 40 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if named { format!("`{key}`") } else { "a key".to_owned() }
}

pub(super) fn flow(pairs: &[String]) -> String {
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

/// A text without quotes where YAML reads it as text whatever its version.
pub(super) fn plain(text: &str) -> String {
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let simple = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let word = words.contains(&text.to_ascii_lowercase().as_str());
    if first && simple && !word { text.to_owned() } else { quoted(text) }
}

/// A JSON text is a YAML text in double quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
