//! What went wrong as a page, for people with a browser.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};

use super::path;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::proxy::local_reply;
use crate::gateway::proxy::record::Record;
use crate::gateway::proxy::response::ProxyResponse;
use crate::model::GatewayError;

/// What programs ask, and expect Dify's JSON of.
const APIS: [&str; 3] = ["/v1", "/api", "/console/api"];

/// Whether the client is a browser that shows a page.
pub(super) fn is_wanted(head: &RequestHead) -> bool {
    let accepts = || {
        let mut accepted = head.headers.iter().filter(|field| {
            field.name == KnownHeader::Other && field.spelt.eq_ignore_ascii_case(b"accept")
        });
        accepted.any(|field| field.value.windows(9).any(|word| word == b"text/html"))
    };
    let path = path::readable(head.uri.path()).unwrap_or_default();
    let is_api = APIS.iter().any(|api| {
        path.strip_prefix(api).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    });
    matches!(head.method, Method::GET | Method::HEAD) && !is_api && accepts()
}

/// The page of an error.
pub(super) fn of(error: &GatewayError, record: Box<Record>) -> ProxyResponse {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let title = status.canonical_reason().unwrap_or("Error");
    let (message, id) = (escaped(&error.message), escaped(record.request_id().as_str()));
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n<p>{message}</p>\n<p><small>Request {id}</small></p>\n</body>\n</html>\n"
    );
    let mut page = Response::new(Bytes::from(text));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    local_reply::error_page(error, page, record).into()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::is_wanted;
    use crate::gateway::http::head::RequestHead;

    #[test]
    fn a_page_is_for_browsers_and_not_for_programs() {
        let wanted = |method: &str, path: &str, accept: &str| {
            let request = Request::builder().method(method).uri(path).header("accept", accept);
            is_wanted(&RequestHead::of_parts(request.body(()).unwrap().into_parts().0))
        };
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        assert!(wanted("GET", "/apps", browser));
        assert!(wanted("GET", "/apis", browser));
        assert!(!wanted("GET", "/apps", "*/*"));
        assert!(!wanted("POST", "/apps", browser));
        for path in ["/v1", "/v1/x", "/api/x", "/console/api/setup", "/%61pi/x"] {
            assert!(!wanted("GET", path, browser), "{path}");
        }
    }
}
