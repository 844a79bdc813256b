//! Whether the response to a probe is the one that was expected.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use memchr::memmem;

use crate::gateway::state::probe_target::Probe;
use crate::model::ProbeExpect;

/// What is read of a response whose body matters.
const BODY_BYTES: usize = 64 << 10;

/// What `GET /v1/` says up to Dify 1.7: `{"welcome": "Dify OpenAPI", …}`.
const WELCOME: &str = "Dify OpenAPI";

/// What is wrong with a response, if anything; it is read behind `301 in 1.2 ms`.
///
/// # Errors
/// The body broke off before it was known.
pub(crate) async fn verify<B>(
    probe: &Probe,
    (status, headers): (StatusCode, &HeaderMap),
    mut body: B,
) -> Result<Option<String>, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    if let Some(fault) = redirect(status, headers).filter(|_| !takes(probe, status)) {
        return Ok(Some(fault));
    }
    let mut begin = BodyStart { bytes: Vec::new(), body: &mut body };
    let expected = match &probe.expect {
        ProbeExpect::Statuses(_) if !takes(probe, status) => return Ok(Some(String::new())),
        ProbeExpect::Statuses(_) => true,
        ProbeExpect::Dify => match of_dify(status, headers) {
            IsDify::Yes => true,
            IsDify::ByBody => begin.welcomes().await?,
            IsDify::No => false,
        },
    };
    if !expected {
        // A server error is one, whoever stands there.
        let fault = match status.is_server_error() {
            true => "",
            false => ", but it is not Dify that answers: is `url` (or `host` and `port`) right?",
        };
        return Ok(Some(fault.to_owned()));
    }
    match &probe.expect_body {
        Some(text) if !begin.holds(text).await? => Ok(Some(" without `expect_body`".to_owned())),
        _ => Ok(None),
    }
}

/// Whether the status alone is enough.
fn takes(probe: &Probe, status: StatusCode) -> bool {
    match &probe.expect {
        ProbeExpect::Dify => false,
        ProbeExpect::Statuses(ranges) => {
            ranges.iter().any(|range| range.contains(&status.as_u16()))
        }
    }
}

/// What the head of a response says of who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsDify {
    Yes,
    No,
    /// A proxy may have taken Dify's headers away.
    ByBody,
}

/// Every response of Dify's API has `X-Version` and `X-Env`. Which version it is decides nothing.
fn of_dify(status: StatusCode, headers: &HeaderMap) -> IsDify {
    let signed = headers.contains_key("x-version") && headers.contains_key("x-env");
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    match status {
        StatusCode::OK if signed => IsDify::Yes,
        StatusCode::OK => IsDify::ByBody,
        StatusCode::NOT_FOUND if signed && is_html(kind) => IsDify::Yes,
        _ => IsDify::No,
    }
}

fn is_html(kind: &[u8]) -> bool {
    kind.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
}

/// Where a redirect leads, and what to write instead.
pub(crate) fn redirect(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    let place = headers.get(LOCATION).filter(|_| status.is_redirection())?;
    let place = String::from_utf8_lossy(place.as_bytes());
    let place: String = place.chars().filter(|sign| !sign.is_control()).take(200).collect();
    let place = without_credentials(&place);
    let hint = match place.starts_with("https://") {
        true => "write https:// in `url`",
        false => "write in `url` where Dify itself answers",
    };
    Some(format!(": a redirect to {place}; {hint}"))
}

/// A place without user, password and query: what stands there may be secret.
fn without_credentials(place: &str) -> String {
    let place = place.split(['?', '#']).next().unwrap_or_default();
    match place.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => place.to_owned(),
    }
}

/// The first 64 KiB of a body, read as far as they are needed.
struct BodyStart<'b, B> {
    bytes: Vec<u8>,
    body: &'b mut B,
}

impl<B: Body<Data = Bytes> + Unpin> BodyStart<'_, B> {
    /// Whether it is Dify's welcome.
    async fn welcomes(&mut self) -> Result<bool, B::Error> {
        // Nothing holds this, so all there is is read.
        self.holds("\0\0").await?;
        let body = serde_json::from_slice::<serde_json::Value>(&self.bytes).unwrap_or_default();
        Ok(body["welcome"] == WELCOME)
    }

    /// Whether `text` stands in it.
    async fn holds(&mut self, text: &str) -> Result<bool, B::Error> {
        loop {
            if memmem::find(&self.bytes, text.as_bytes()).is_some() {
                return Ok(true);
            }
            let room = BODY_BYTES - self.bytes.len();
            let frame = if room == 0 { None } else { self.body.frame().await };
            let Some(frame) = frame else { return Ok(false) };
            if let Ok(data) = frame?.into_data() {
                self.bytes.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use http_body_util::Full;

    use super::*;
    use crate::gateway::state::probe_target::Probe;

    fn probe(expect: ProbeExpect) -> Probe {
        Probe {
            path: "/v1/".parse().unwrap(),
            method: http::Method::GET,
            headers: Vec::new(),
            rhythm: crate::balance::ProbeTiming { interval_ms: 1000, fast_interval_ms: 250 },
            timeout: std::time::Duration::from_secs(1),
            rules: crate::balance::HealthThresholds { rise: 1, fall: 2 },
            expect,
            expect_body: None,
        }
    }

    async fn fault(expect: ProbeExpect, status: u16, headers: &str, body: &str) -> Option<String> {
        let mut response = Response::builder().status(status);
        for line in headers.split('|').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            response = response.header(name, value);
        }
        let head = response.body(()).unwrap().into_parts().0;
        let body = Full::new(Bytes::from(body.to_owned()));
        verify(&probe(expect), (head.status, &head.headers), body).await.unwrap()
    }

    const SIGNED: &str = "X-Version: 9|X-Env: PRODUCTION";
    const JSON: &str = "Content-Type: application/json";
    const HTML: &str = "Content-Type: text/html; charset=utf-8";

    #[tokio::test]
    async fn every_dify_is_known_and_nothing_else() {
        let welcome = r#"{"welcome": "Dify OpenAPI", "api_version": "v1"}"#;
        for (status, headers, body) in [
            (200, format!("{SIGNED}|{JSON}"), welcome),
            (200, format!("{SIGNED}|{JSON}"), ""),
            (200, JSON.to_owned(), welcome),
            (404, format!("{SIGNED}|{HTML}"), "<!doctype html>"),
        ] {
            let found = fault(ProbeExpect::Dify, status, &headers, body).await;
            assert_eq!(found, None, "{status} {headers}");
        }
        for (status, headers, body) in [
            (200, JSON.to_owned(), r#"{"status": "ok"}"#),
            (200, JSON.to_owned(), r#"{"note": "in front of Dify OpenAPI"}"#),
            (200, HTML.to_owned(), "<title>Welcome to nginx!</title>"),
            (404, HTML.to_owned(), "<h1>404 Not Found</h1>"),
            (404, format!("X-Version: 9|{HTML}"), "<h1>404 Not Found</h1>"),
            (404, format!("{SIGNED}|{JSON}"), r#"{"code": "not_found"}"#),
            (401, format!("{SIGNED}|{JSON}"), ""),
        ] {
            let found = fault(ProbeExpect::Dify, status, &headers, body).await.unwrap();
            assert!(found.contains("not Dify"), "{status} {headers}: {found}");
        }
        assert_eq!(fault(ProbeExpect::Dify, 502, HTML, "").await, Some(String::new()));
    }

    #[tokio::test]
    async fn a_redirect_says_what_to_write() {
        let to = |place: &str| format!("Location: {place}");
        let found =
            fault(ProbeExpect::Dify, 301, &to("https://dify.example/v1/"), "").await.unwrap();
        assert_eq!(found, ": a redirect to https://dify.example/v1/; write https:// in `url`");
        let secret = to("https://user:pw@dify.example/v1/?token=hush");
        let found = fault(ProbeExpect::Dify, 302, &secret, "").await.unwrap();
        assert!(found.contains("to https://dify.example/v1/; "), "{found}");
        let found = fault(ProbeExpect::Dify, 302, &to("/signin?next=hush"), "").await.unwrap();
        assert!(!found.contains("hush"), "{found}");
        assert!(found.contains("where Dify itself answers"), "{found}");
        // Who writes it down wants it.
        let written = ProbeExpect::Statuses(vec![200..=399]);
        assert_eq!(fault(written, 301, &to("https://dify.example/v1/"), "").await, None);
    }

    #[tokio::test]
    async fn written_statuses_are_from_whomever() {
        let written = || ProbeExpect::Statuses(vec![200..=200, 404..=404]);
        assert_eq!(fault(written(), 404, "", "").await, None);
        assert_eq!(fault(written(), 500, "", "").await, Some(String::new()));
    }
}
