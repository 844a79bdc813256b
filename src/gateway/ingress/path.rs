//! Paths as servers behind the gateway read them: with escapes undone and slashes merged. Routes are
//! looked up so, and the request goes on as it came.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What Dify's API container tells everybody who reaches it, and is for its operators alone.
const PRIVATE: [&str; 3] = ["/threads", "/db-pool-stat", "/health"];

/// A path has a segment `.` or `..`, so that servers do not agree where it leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dots;

/// The path without escapes and doubled slashes.
///
/// # Errors
/// It has a segment `.` or `..`.
pub(super) fn readable(path: &str) -> Result<Cow<'_, str>, Dots> {
    let is_plain = !path.contains('%') && !path.contains("//") && !path.contains("/.");
    if is_plain {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    if decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
        return Err(Dots);
    }
    let mut merged = String::with_capacity(decoded.len());
    for letter in decoded.chars() {
        if letter != '/' || !merged.ends_with('/') {
            merged.push(letter);
        }
    }
    Ok(Cow::Owned(merged))
}

/// Whether a path, as [`readable`] gives it, must not be reached from outside.
pub(super) fn is_private(path: &str) -> bool {
    PRIVATE.contains(&path.strip_suffix('/').unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::{Dots, is_private, readable};

    #[test]
    fn escapes_are_undone_once_and_slashes_are_merged() {
        for (path, read) in [
            ("/", "/"),
            ("/a.b/.well-known/x", "/a.b/.well-known/x"),
            ("//api//x", "/api/x"),
            ("/%61pi/x", "/api/x"),
            ("/a%2fb", "/a/b"),
            ("/a%252fb", "/a%2fb"),
            ("/%zz", "/%zz"),
        ] {
            assert_eq!(readable(path).unwrap(), read, "{path}");
        }
        for path in ["/..", "/a/../b", "/a/./b", "/a/%2e%2e/b", "/a%2f..%2fb", "/a/..%5cb", "//./x"]
        {
            assert_eq!(readable(path), Err(Dots), "{path}");
        }
    }

    #[test]
    fn what_only_operators_may_see_is_private_however_it_is_written() {
        for path in
            ["/threads", "/threads/", "//threads", "/%74hreads", "/db-pool-stat", "/health/"]
        {
            assert!(is_private(&readable(path).unwrap()), "{path}");
        }
        for path in ["/threads/1", "/api/threads", "/healthy", "/"] {
            assert!(!is_private(&readable(path).unwrap()), "{path}");
        }
    }
}
