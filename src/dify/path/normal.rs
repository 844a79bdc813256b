//! Paths as Dify reads them: it undoes percent-encoding before it looks for a route.

/// The path with those escapes undone that need none (RFC 3986 §6.2.2.2: letters, digits, `-._~`) and with
/// those of `/`, which part a path for Dify, too. None if there is nothing to undo.
///
/// What stays escaped is no part of any route that is known here.
pub fn normal(path: &str) -> Option<String> {
    if !path.contains('%') {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let byte = rest.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            _ => {
                out.push('%');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    (out != path).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn escapes_that_need_none_are_undone() {
        for (path, expected) in [
            ("/v1/chat%2dmessages/7/st%6Fp", Some("/v1/chat-messages/7/stop")),
            ("/v1/chat-messages/7%2fstop", Some("/v1/chat-messages/7/stop")),
            ("/%76%31/info", Some("/v1/info")),
            ("/v1/info", None),
            // Once, as Dify does: what is left may be an escape again, and stays one.
            ("/v1/%252e%252e/info", None),
            ("/v1/%20%e4%bd%a0%zz%", None),
            ("/v1/a%20%41", Some("/v1/a%20A")),
        ] {
            assert_eq!(normal(path).as_deref(), expected, "{path}");
        }
    }
}
