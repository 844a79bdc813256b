//! What of a path opens something by itself.

use std::borrow::Cow;

/// Stands for what is not shown.
const HIDDEN: &str = "***";

/// A path with its query, without the signature of a link to a file and the code of a server of tools:
/// whoever has one of these needs no key. Everything else is as it came.
pub fn without_secrets(path: &str) -> Cow<'_, str> {
    if let Some(at) = path.find("/mcp/server/") {
        let (start, rest) = path.split_at(at + "/mcp/server/".len());
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        return Cow::Owned([start, HIDDEN, &rest[end..]].concat());
    }
    if !path.contains("/files/") {
        return Cow::Borrowed(path);
    }
    let Some(at) = path.find("sign=") else { return Cow::Borrowed(path) };
    let (start, rest) = path.split_at(at + "sign=".len());
    let end = rest.find('&').unwrap_or(rest.len());
    Cow::Owned([start, HIDDEN, &rest[end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn signatures_and_codes_are_hidden_and_nothing_else() {
        for (path, expected) in [
            (
                "/files/7/file-preview?timestamp=1&nonce=2&sign=abc%3D&as_attachment=true",
                "/files/7/file-preview?timestamp=1&nonce=2&sign=***&as_attachment=true",
            ),
            ("/files/tools/7.png?sign=abc", "/files/tools/7.png?sign=***"),
            ("/mcp/server/abc/mcp", "/mcp/server/***/mcp"),
            ("/mcp/server/abc", "/mcp/server/***"),
            ("/v1/files/upload?user=a", "/v1/files/upload?user=a"),
            ("/v1/messages?sign=abc", "/v1/messages?sign=abc"),
            ("/", "/"),
        ] {
            assert_eq!(without_secrets(path), expected);
        }
    }
}
