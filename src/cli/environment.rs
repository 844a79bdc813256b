//! What the program has of its environment.

use std::ffi::OsString;

use crate::config::Environment;

/// What `${NAME}` in a configuration stands for. Values that are not UTF-8 stand for nothing.
pub(crate) fn environment() -> Environment {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Environment { vars: std::env::vars_os().filter_map(text).collect(), ..Environment::default() }
}
