//! Where people find an instance's web app, as an operator writes it.

use http::Uri;
use serde::de::Deserializer;

use crate::model::units::from_text;

/// What it must be; the reader puts the key in front.
const FORM: &str = "must be an `http` or `https` URL without a query";

/// An origin, perhaps with a path, for a key that may be absent. No slash is left at its end.
pub(super) fn web_url<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    from_text(de, |text| read(text).map(Some))
}

fn read(text: &str) -> Result<String, String> {
    let wrong = |hint: &str| Err(format!("{FORM}\n{hint}"));
    if text.contains(['?', '#']) {
        return wrong("take out what begins with `?` or `#`");
    }
    let example = "write it as a browser shows it: `https://dify.example.org`";
    let Ok(uri) = text.parse::<Uri>() else { return wrong(example) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return wrong(example);
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return wrong("take the user name and the password out");
    }
    // The address stands in the text of an answer, where other signs might end it.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
    if uri.host().is_none_or(str::is_empty) || !uri.path().bytes().all(plain) {
        return wrong(example);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn an_origin_may_have_a_path() {
        for (text, read_as) in [
            ("https://dify.example.org", "https://dify.example.org"),
            ("https://dify.example.org/", "https://dify.example.org"),
            ("http://10.0.0.2:8080/dify//", "http://10.0.0.2:8080/dify"),
            ("http://[::1]:80/a-b/%20", "http://[::1]:80/a-b/%20"),
        ] {
            assert_eq!(read(text).unwrap(), read_as);
        }
    }

    #[test]
    fn what_is_no_page_is_refused_with_a_hint() {
        for (text, hint) in [
            ("dify.example.org", "as a browser shows it"),
            ("/form", "as a browser shows it"),
            ("ftp://dify", "as a browser shows it"),
            ("https://", "as a browser shows it"),
            ("https://a b", "as a browser shows it"),
            ("https://dify/(x)", "as a browser shows it"),
            ("", "as a browser shows it"),
            ("https://dify/?x=1", "`?`"),
            ("https://dify/#x", "`#`"),
            ("https://user:word@dify", "password"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(super::FORM) && error.contains(hint), "{text}: {error}");
        }
    }
}
