//! gunicorn's own answers to malformed HTTP: an HTML page and `Connection: close`.

/// A request gunicorn does not pass on.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// 400, 431 or 501.
    pub(crate) status: u16,
    message: String,
}

impl Refusal {
    pub(crate) fn request_line(line: &[u8]) -> Self {
        let line = repr(&String::from_utf8_lossy(line));
        Self::bad(format!("Invalid Request Line 'Invalid HTTP request line: {line}'"))
    }

    pub(crate) fn long_line(length: usize, limit: usize) -> Self {
        Self::bad(format!("Request Line is too large ({length} > {limit})"))
    }

    pub(crate) fn method(method: &str) -> Self {
        Self::bad(format!("Invalid Method 'Invalid HTTP method: {}'", repr(method)))
    }

    pub(crate) fn version(version: &str) -> Self {
        let digits = version.strip_prefix("HTTP/").and_then(|digits| {
            let (major, minor) = digits.split_once('.')?;
            Some((major.parse::<u8>().ok()?, minor.parse::<u8>().ok()?))
        });
        let shown = match digits {
            Some((major, minor)) => format!("({major}, {minor})"),
            None => repr(version),
        };
        Self::bad(format!("Invalid HTTP Version 'Invalid HTTP Version: {shown}'"))
    }

    pub(crate) fn header_name(name: &str) -> Self {
        Self::bad(format!("Invalid Header 'Invalid HTTP header name: {}'", repr(name)))
    }

    pub(crate) fn header(name: &str) -> Self {
        Self::bad(format!("Invalid HTTP Header: {}", repr(name)))
    }

    pub(crate) fn transfer_coding(coding: &str) -> Self {
        Self { status: 501, message: format!("Unsupported transfer coding: {}", repr(coding)) }
    }

    pub(crate) fn header_size() -> Self {
        Self::large("limit request headers fields size")
    }

    pub(crate) fn header_count() -> Self {
        Self::large("limit request headers fields")
    }

    fn large(what: &str) -> Self {
        Self { status: 431, message: format!("Error parsing headers: '{what}'") }
    }

    fn bad(message: String) -> Self {
        Self { status: 400, message }
    }

    /// The whole answer, head and page.
    pub(crate) fn page(&self) -> Vec<u8> {
        let reason = match self.status {
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            _ => "Bad Request",
        };
        let body = format!(
            "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    \
             <h1><p>{reason}</p></h1>\n    {}\n  </body>\n</html>\n",
            escape(&self.message)
        );
        format!(
            "HTTP/1.1 {} {reason}\r\nConnection: close\r\nContent-Type: text/html\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.status,
            body.len()
        )
        .into_bytes()
    }
}

fn repr(text: &str) -> String {
    format!("'{}'", text.escape_debug().to_string().replace("\\\"", "\""))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#x27;")
}
