//! The CORS headers of Dify's service API, for answers that the gateway gives itself.
//!
//! A preflight carries no key, so it can be sent to no app: the gateway answers it as Dify 1.5.0
//! does. A refusal without these headers would reach a browser's script as a network error.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

/// What Dify 1.5.0 allows on every path of the service API.
const METHODS: [&str; 6] = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"];

const METHODS_TEXT: &str = "DELETE, GET, OPTIONS, PATCH, POST, PUT";

const HEADERS: [&str; 3] = ["content-type", "authorization", "x-app-code"];

/// Adds the headers of an ordinary answer: the request's `Origin` and `Vary`, or `*` without one.
///
/// Dify 1.5.0 sends them on answers of routes that exist and match the method, also on a 401, and
/// not on its 404 and 405.
pub fn add(request: &HeaderMap, answer: &mut HeaderMap) {
    match request.get(ORIGIN) {
        Some(origin) => {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        None => {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
    }
}

/// Adds the headers of the answer to an OPTIONS: those of [`add`], and if it is a preflight for a
/// method that Dify allows, the methods and those of the headers asked for that are allowed. The
/// answer's status is 200, its body empty; `Allow` is that of the path.
pub fn add_preflight(request: &HeaderMap, answer: &mut HeaderMap) {
    add(request, answer);
    let method = request.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| value.to_str().ok());
    if !method.is_some_and(|method| METHODS.iter().any(|known| known.eq_ignore_ascii_case(method)))
    {
        return;
    }
    if let Some(headers) = allowed_headers(request) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS_TEXT));
}

/// The allowed ones of the headers asked for, spelt as asked for, in alphabetical order.
fn allowed_headers(request: &HeaderMap) -> Option<HeaderValue> {
    let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?;
    let mut allowed: Vec<&str> = asked
        .split(',')
        .map(str::trim)
        .filter(|name| HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .collect();
    if allowed.is_empty() {
        return None;
    }
    allowed.sort_unstable();
    HeaderValue::try_from(allowed.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{add, add_preflight};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_refusal_echoes_the_origin_or_says_star() {
        let mut answer = HeaderMap::new();
        add(&headers(&[("origin", "https://app.example.com")]), &mut answer);
        let recorded =
            [("access-control-allow-origin", "https://app.example.com"), ("vary", "Origin")];
        assert_eq!(answer, headers(&recorded));

        let mut answer = HeaderMap::new();
        add(&HeaderMap::new(), &mut answer);
        assert_eq!(answer, headers(&[("access-control-allow-origin", "*")]));
    }

    #[test]
    fn a_preflight_is_answered_as_recorded() {
        let mut answer = HeaderMap::new();
        let request = headers(&[
            ("origin", "https://app.example.com"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ]);
        add_preflight(&request, &mut answer);
        let recorded = [
            ("access-control-allow-origin", "https://app.example.com"),
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-allow-methods", "DELETE, GET, OPTIONS, PATCH, POST, PUT"),
            ("vary", "Origin"),
        ];
        assert_eq!(answer, headers(&recorded));
    }

    #[test]
    fn headers_that_dify_does_not_allow_are_left_out() {
        for (asked, allowed) in [
            ("X-Request-ID, Content-Type, x-app-code", Some("Content-Type, x-app-code")),
            ("x-request-id", None),
            ("", None),
        ] {
            let mut answer = HeaderMap::new();
            let request = headers(&[
                ("origin", "https://a.b"),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", asked),
            ]);
            add_preflight(&request, &mut answer);
            let found = answer.get("access-control-allow-headers");
            assert_eq!(found.map(|value| value.to_str().unwrap()), allowed, "{asked}");
            assert!(answer.contains_key("access-control-allow-methods"));
        }
    }

    #[test]
    fn options_that_are_no_preflight_get_no_methods() {
        for request in [
            headers(&[("origin", "https://a.b")]),
            headers(&[("origin", "https://a.b"), ("access-control-request-method", "TRACE")]),
        ] {
            let mut answer = HeaderMap::new();
            add_preflight(&request, &mut answer);
            assert_eq!(answer.len(), 2);
        }
    }
}
