//! Request heads, read with gunicorn's rules and limits.
//!
//! Names keep their case, values their bytes (as lossy UTF-8). Names with an underscore are
//! dropped, as gunicorn does by default. Deliberately absent: obsolete line folding.

use super::refusal::Refusal;
use crate::release::Release;
use serde_json::{Map, Value};

/// Bytes of the request line, without its line end.
const LINE_LIMIT: usize = 4094;
/// Bytes of one header field, its line end included.
const FIELD_LIMIT: usize = 8190;
/// Header fields.
const FIELD_COUNT: usize = 100;

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; zero when nothing was said.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A request up to its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// Path and query as sent, without scheme and host.
    pub(crate) target: String,
    /// The minor version of HTTP/1.
    pub(crate) minor: u8,
    /// As sent, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) framing: Framing,
}

impl Head {
    /// The value of a header; several of the same name are joined by a comma, as WSGI does.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut joined = values.next()?.1.clone();
        for (_, value) in values {
            joined.push(',');
            joined.push_str(value);
        }
        Some(joined)
    }

    /// Whether the connection may serve another request after this one.
    pub(crate) fn keep_alive(&self) -> bool {
        match self.header("connection") {
            Some(value) if value.trim().eq_ignore_ascii_case("close") => false,
            Some(value) if value.trim().eq_ignore_ascii_case("keep-alive") => true,
            _ => self.minor > 0,
        }
    }

    /// Whether the client waits for `100 Continue`.
    pub(crate) fn expects_continue(&self) -> bool {
        self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// The path, percent-decoded, with leading slashes merged.
    pub(crate) fn path(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        format!("/{}", decoded.trim_start_matches('/'))
    }

    /// The fields of the query string as an object, in order; of a name the first one.
    pub(crate) fn query_object(&self) -> Value {
        let query = self.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let mut fields = Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            fields.entry(decoded(name)).or_insert_with(|| Value::String(decoded(value)));
        }
        Value::Object(fields)
    }

    /// A field of the query string, decoded; the first one of the name.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        form_field(query, name)
    }
}

/// A part of a urlencoded text, decoded.
fn decoded(part: &str) -> String {
    let part = part.replace('+', " ");
    percent_encoding::percent_decode_str(&part).decode_utf8_lossy().into_owned()
}

/// A field of a urlencoded text, decoded; the first one of the name.
pub(crate) fn form_field(text: &str, name: &str) -> Option<String> {
    text.split('&').find_map(|pair| {
        let (field, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(field) == name).then(|| decoded(value))
    })
}

/// A head at the start of these bytes and its length; `None` if it is not complete yet.
pub(crate) fn read(bytes: &[u8], release: Release) -> Result<Option<(Head, usize)>, Refusal> {
    let Some(line_end) = memchr::memmem::find(bytes, b"\r\n") else {
        if bytes.len() > LINE_LIMIT + 2 {
            return Err(Refusal::long_line(bytes.len(), LINE_LIMIT));
        }
        return Ok(None);
    };
    if line_end > LINE_LIMIT {
        return Err(Refusal::long_line(line_end, LINE_LIMIT));
    }
    let (method, target, minor) = read_line(&bytes[..line_end], release)?;
    let mut headers = Vec::with_capacity(8);
    let mut at = line_end + 2;
    loop {
        let rest = &bytes[at..];
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
            return if rest.len() > FIELD_LIMIT { Err(Refusal::header_size()) } else { Ok(None) };
        };
        if end == 0 {
            at += 2;
            break;
        }
        if end + 2 > FIELD_LIMIT {
            return Err(Refusal::header_size());
        }
        if headers.len() == FIELD_COUNT {
            return Err(Refusal::header_count());
        }
        headers.push(read_field(&rest[..end])?);
        at += end + 2;
    }
    headers.retain(|(name, _)| !name.contains('_'));
    let framing = framing(&headers)?;
    Ok(Some((Head { method, target, minor, headers, framing }, at)))
}

fn read_line(line: &[u8], release: Release) -> Result<(String, String, u8), Refusal> {
    let text = String::from_utf8_lossy(line);
    let mut parts = text.splitn(3, ' ');
    let (Some(method), Some(uri), Some(version)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::request_line(line));
    };
    let is_method = |byte: u8| byte.is_ascii_uppercase() || b"-_0123456789".contains(&byte);
    if !(3..=20).contains(&method.len()) || !method.bytes().all(is_method) {
        return Err(Refusal::method(method));
    }
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        "HTTP/2.0" if method == "PRI" && release.is_restx() => {
            return Err(Refusal::request_line(line));
        }
        other => return Err(Refusal::version(other)),
    };
    if uri.is_empty() {
        return Err(Refusal::request_line(line));
    }
    Ok((method.to_owned(), origin_form(uri), minor))
}

/// Path and query of a target that may be absolute.
fn origin_form(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => match rest.find('/') {
            Some(at) => rest[at..].to_owned(),
            None => "/".to_owned(),
        },
        _ => uri.to_owned(),
    }
}

fn read_field(line: &[u8]) -> Result<(String, String), Refusal> {
    let text = String::from_utf8_lossy(line);
    let Some((name, value)) = text.split_once(':') else {
        return Err(Refusal::header(&text));
    };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Refusal::header_name(name));
    }
    let value = value.trim_matches([' ', '\t']);
    if value.contains(['\0', '\r', '\n']) {
        return Err(Refusal::header(&name.to_ascii_uppercase()));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn framing(headers: &[(String, String)]) -> Result<Framing, Refusal> {
    let mut length = None;
    let mut chunked = false;
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("content-length") {
            if length.is_some() {
                return Err(Refusal::header("CONTENT-LENGTH"));
            }
            length = Some(value);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            match value.to_ascii_lowercase().as_str() {
                "chunked" if !chunked => chunked = true,
                "identity" if !chunked => {}
                "chunked" | "identity" => return Err(Refusal::header("TRANSFER-ENCODING")),
                other => return Err(Refusal::transfer_coding(other)),
            }
        }
    }
    match length {
        Some(_) if chunked => Err(Refusal::header("CONTENT-LENGTH")),
        None if chunked => Ok(Framing::Chunked),
        None => Ok(Framing::Length(0)),
        Some(digits) => match digits.parse() {
            Ok(length) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Framing::Length(length))
            }
            _ => Err(Refusal::header("CONTENT-LENGTH")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::Framing;
    use crate::release::Release;

    fn read(bytes: &[u8]) -> Result<Option<(super::Head, usize)>, super::Refusal> {
        super::read(bytes, Release::default())
    }

    #[test]
    fn a_head_is_read_when_complete_and_keeps_case_and_order() {
        let bytes =
            b"POST /v1/x?user=a%20b+c HTTP/1.1\r\nX-B: 1 \r\nx-a:2\r\nX_Under: 3\r\n\r\nrest";
        for end in 0..bytes.len() - 4 {
            assert!(read(&bytes[..end]).unwrap().is_none(), "complete at {end}");
        }
        let (head, length) = read(bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len() - 4);
        assert_eq!(
            head.headers,
            [("X-B".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())]
        );
        assert_eq!(head.query("user").as_deref(), Some("a b c"));
        assert_eq!(head.framing, Framing::Length(0));
    }

    #[test]
    fn limits_are_those_of_gunicorn() {
        let line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(4094 - 14));
        assert!(read(line.as_bytes()).unwrap().is_some());
        let line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(4094 - 13));
        assert_eq!(read(line.as_bytes()).unwrap_err().status, 400);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert_eq!(read(many.as_bytes()).unwrap_err().status, 431);
    }
}
