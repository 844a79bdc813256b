//! How a variable is read, whatever it says.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::full_width;
use crate::config::literal;

/// The variables, and what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) vars: &'a BTreeMap<String, String>,
    /// Where some of them stand.
    pub(super) file: Option<&'a Path>,
    pub(super) sink: &'a mut DiagnosticSink,
}

impl Reader<'_> {
    /// A variable that is set and not empty. Docker's own env files keep the quotes that others take
    /// away.
    pub(super) fn var(&self, name: &str) -> Option<&str> {
        let value = self.vars.get(name)?.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote))
        });
        Some(quoted.unwrap_or(value).trim()).filter(|value| !value.is_empty())
    }

    pub(super) fn error(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.sink.add(DiagnosticBuilder::placeless(message).hint(hint));
    }

    pub(super) fn needed(&mut self, name: &str, hint: &str) -> Option<String> {
        let value = self.var(name).map(str::to_owned);
        if value.is_none() {
            self.error(format!("`{name}` is not set, and there is no `difygate.yaml`"), hint);
        }
        value
    }

    /// Secrets parted by commas, or a list.
    pub(super) fn list(&mut self, name: &str, example: &str) -> Vec<String> {
        let written = self.var(name).unwrap_or_default().to_owned();
        let mut secrets: Vec<String> = Vec::new();
        if written.starts_with('[') {
            match literal::list(&written) {
                Ok(items) => secrets.extend(items.into_iter().flatten()),
                Err(fault) => {
                    let (column, expected) = (fault.column, fault.expected);
                    let message = format!(
                        "`{name}` is not a list: at character {column}, {expected} was expected"
                    );
                    let hint = format!(
                        "separate the keys by commas, or write `[\"{example}\", \"{example}\"]`"
                    );
                    self.error(message, hint);
                }
            }
        } else {
            if let Some(wide) = written.chars().find(|c| full_width::meant(*c) == Some(',')) {
                let hint = full_width::advice(wide).unwrap_or_default();
                self.error(format!("`{name}` has a full-width comma"), hint);
                return Vec::new();
            }
            secrets.extend(written.split(',').map(str::to_owned));
        }
        let secrets =
            secrets.iter().map(|secret| secret.trim()).filter(|secret| !secret.is_empty());
        secrets.map(str::to_owned).collect()
    }
}
