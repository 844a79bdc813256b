//! Addresses of Dify's files, as a client reaches them.
//!
//! Dify signs links to files and begins them with its `FILES_URL`: the address of one installation, often
//! one that only its own containers know, or nothing at all. The signature covers the file, the time
//! and a nonce, not the host (1.5.0 to main), so the same path is good at another host.

use std::borrow::Cow;

use memchr::memchr;

use crate::dify::path::CallKind;
use crate::dify::path::classify;

/// With this the path of every link to a file begins, after what `FILES_URL` has of a path.
const FILES: &str = "/files/";

/// A file's address with this base, where it is relative or a signed link of Dify's. Without a base it
/// stays as it is.
pub fn absolute<'a>(url: &'a str, base: &str) -> Cow<'a, str> {
    let is_relative = url.starts_with('/') && !url.starts_with("//");
    if is_relative && !base.is_empty() {
        return Cow::Owned(format!("{base}{url}"));
    }
    within(url, base)
}

/// A text in which every signed link of Dify's has this base.
pub fn within<'a>(text: &'a str, base: &str) -> Cow<'a, str> {
    // Most pieces of a text have no slash.
    if base.is_empty() || memchr(b'/', text.as_bytes()).is_none() || !text.contains(FILES) {
        return Cow::Borrowed(text);
    }
    let mut summary = String::new();
    let mut done = 0;
    for (at, _) in text.match_indices(FILES) {
        let (Some(before), Some(link)) = (text.get(done..at), text.get(at..)) else { continue };
        let link = link.find(ends_a_link).and_then(|end| link.get(..end)).unwrap_or(link);
        let from = before.rfind(ends_a_link).map_or(0, |last| {
            last + before.get(last..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        });
        let host = before.get(from..).unwrap_or_default();
        let is_host =
            host.is_empty() || host.starts_with("http://") || host.starts_with("https://");
        if is_host && is_signed(link) {
            summary.push_str(before.get(..from).unwrap_or_default());
            summary.push_str(base);
            summary.push_str(link);
            done = at + link.len();
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    summary.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(summary)
}

fn is_signed(link: &str) -> bool {
    let Some((path, query)) = link.split_once('?') else { return false };
    let has_sign = query.split('&').any(|field| field.starts_with("sign="));
    has_sign && classify(path).kind == CallKind::SignedFile
}

/// What no link of Dify's has: in Markdown, HTML and JSON it stands around one.
fn ends_a_link(letter: char) -> bool {
    letter.is_whitespace()
        || !letter.is_ascii()
        || matches!(letter, '(' | ')' | '[' | ']' | '<' | '>' | '"' | '\'' | '`' | '|' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://gate.example";
    const ID: &str = "0b7ea6c8-58d5-4f66-a9a2-5d1d3f1f0a01";

    #[test]
    fn links_of_dify_get_the_base_and_no_others() {
        let link = format!("/files/{ID}/file-preview?timestamp=1&nonce=ab&sign=Wp-_a%3D");
        let tool = format!("/files/tools/{ID}.png?timestamp=1&nonce=ab&sign=Wp=");
        for (text, expected) in [
            (link.clone(), format!("{BASE}{link}")),
            (format!("http://10.0.0.7:5001{tool}"), format!("{BASE}{tool}")),
            (
                format!("好![a](http://dify{link})和[b]({tool})."),
                format!("好![a]({BASE}{link})和[b]({BASE}{tool})."),
            ),
            (format!("https://x.example/dify1{tool} ok"), format!("{BASE}{tool} ok")),
        ] {
            assert_eq!(within(&text, BASE), expected, "{text}");
            assert_eq!(within(&text, ""), text);
            assert_eq!(within(&expected, BASE), expected, "once and for all");
        }
        for text in [
            "https://x.example/files/report.pdf?sign=1",
            &format!("https://x.example/files/{ID}/file-preview"),
            &format!("ftp://x.example{link}"),
            "see /files/ and /files/tools/",
        ] {
            assert_eq!(within(text, BASE), text);
        }
    }

    #[test]
    fn a_files_own_address_may_be_any_path() {
        assert_eq!(absolute("/a/1.png", BASE), "https://gate.example/a/1.png");
        assert_eq!(absolute("/a/1.png", ""), "/a/1.png");
        for other in ["https://x.example/a/1.png", "//x.example/1.png", "1.png"] {
            assert_eq!(absolute(other, BASE), other);
        }
    }
}
