//! Whether a Redis can be reached by what is written.

use std::path::PathBuf;

use redis::IntoConnectionInfo;

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::RawConfig;
use crate::config::yaml::{Places, Step};

/// Checks folder and URL. Nothing of a URL is repeated: it may hold a password.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let is_url = |path: &PathBuf| path.to_string_lossy().contains("://");
    if raw.store.path.as_ref().is_some_and(is_url) {
        let span = places.value(&[Step::Key("store"), Step::Key("path")]);
        sink.add(
            DiagnosticBuilder::error(span, "`store.path` is a folder, and this is a URL")
                .hint("write the URL of a Redis as `redis:`"),
        );
    }
    let Some(url) = &raw.store.redis else { return };
    let fits = url.expose().starts_with("redis://") && url.expose().into_connection_info().is_ok();
    if !fits {
        let map = [Step::Key("store"), Step::Key("redis")];
        let span = if places.has(&map) { places.value(&map) } else { places.value(&map[..1]) };
        sink.add(
            DiagnosticBuilder::error(span, "this is not the URL of a Redis")
                .hint("write it as `redis://user:password@host:6379/0`; TLS is not supported"),
        );
    }
}
