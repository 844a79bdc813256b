//! Durations without a unit that were perhaps meant as milliseconds.

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::key_table::is_duration;
use crate::config::yaml::Places;

/// Whoever writes so many seconds without a unit may mean milliseconds.
const LARGE_S: u64 = 1000;

/// Looks at every duration that is a number alone.
pub(super) fn check(places: &Places<'_>, sink: &mut DiagnosticSink) {
    places.each_text(&mut |key, text, span| {
        let is_large = text.parse::<u64>().is_ok_and(|number| number >= LARGE_S);
        if is_large && is_duration(key) {
            let message = format!("`{key}` has no unit: it is taken for {text} seconds");
            let hint = format!("write `{text}s`, or `{text}ms` for milliseconds");
            sink.add(DiagnosticBuilder::warning(span.clone(), message).hint(hint));
        }
    });
}
