//! HTTP/1 read as strictly as one can: what the gateway itself says has to pass here.

/// Headers that belong to one connection and may not be passed on.
const HOPS: [&str; 9] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
];

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// It ended with its connection.
    pub by_close: bool,
}

impl Message {
    /// The values of a header.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The status of an answer.
    pub(super) fn status(&self) -> &str {
        self.start.split(' ').nth(1).unwrap()
    }
}

/// What comes first in some bytes.
pub(super) enum First {
    /// A message, and where it ends.
    Message(Message, usize),
    /// There is not enough of it.
    Partial,
}

/// The request that an instance got first.
pub(super) fn request(bytes: &[u8]) -> Result<First, String> {
    let Some((mut message, end)) = head(bytes)? else { return Ok(First::Partial) };
    let words: Vec<_> = message.start.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Err(format!("not a request line: {:?}", message.start));
    };
    let is_token = !method.is_empty() && method.bytes().all(is_token_byte);
    if !is_token || !target.starts_with('/') || target.bytes().any(|b| b <= b' ' || b == 127) {
        return Err(format!("not a request line: {:?}", message.start));
    }
    for name in ["connection", "transfer-encoding"] {
        if !message.all(name).is_empty() {
            return Err(format!("{name} in a request of ours"));
        }
    }
    if message.all("host").len() != 1 {
        return Err("not one Host".to_owned());
    }
    if message.all("authorization") != ["Bearer app-shop-1"] {
        return Err("not the instance's own key".to_owned());
    }
    let length = length(&message)?.unwrap_or(0);
    take(bytes, end, length, &mut message).map(|end| first(message, end))
}

/// The answer that a client got first. `is_head`: it has no body by its nature; `is_whole`: nothing
/// will follow these bytes.
pub(super) fn answer(bytes: &[u8], is_head: bool, is_whole: bool) -> Result<First, String> {
    let Some((mut message, end)) = head(bytes)? else { return Ok(First::Partial) };
    let (version, rest) = message.start.split_once(' ').unwrap_or_default();
    let code = rest.get(..3).unwrap_or_default();
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !code.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("not a status line: {:?}", message.start));
    }
    for value in message.all("connection") {
        if !matches!(value, "close" | "keep-alive") {
            return Err(format!("Connection: {value} in an answer of ours"));
        }
    }
    let (codings, length) = (message.all("transfer-encoding"), length(&message)?);
    if !codings.is_empty() && (codings != ["chunked"] || length.is_some()) {
        return Err(format!("framed in two ways: {:?}", message.headers));
    }
    let is_bare = code.starts_with('1') || code == "204";
    if is_bare && (length.is_some() || !codings.is_empty()) {
        return Err(format!("{code} is framed: {:?}", message.headers));
    }
    if is_head || is_bare || code == "304" {
        return Ok(First::Message(message, end));
    }
    if codings == ["chunked"] {
        let chunks = chunks(&bytes[end..])?;
        return Ok(first(Message { body: chunks.0, ..message }, chunks.1.map(|size| end + size)));
    }
    let Some(length) = length else {
        message.by_close = true;
        message.body = bytes[end..].to_vec();
        return Ok(first(message, is_whole.then_some(bytes.len())));
    };
    take(bytes, end, length, &mut message).map(|end| first(message, end))
}

fn first(message: Message, end: Option<usize>) -> First {
    end.map_or(First::Partial, |end| First::Message(message, end))
}

fn take(
    bytes: &[u8],
    begin: usize,
    length: usize,
    message: &mut Message,
) -> Result<Option<usize>, String> {
    let end = begin.checked_add(length).ok_or("a length beyond all bounds")?;
    let Some(body) = bytes.get(begin..end) else { return Ok(None) };
    message.body = body.to_vec();
    Ok(Some(end))
}

/// Start line and headers, and where they end.
fn head(bytes: &[u8]) -> Result<Option<(Message, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("no header: {line:?}"))?;
        let is_value = value.bytes().all(|byte| byte == b'\t' || byte >= b' ' && byte != 127);
        if name.is_empty() || !name.bytes().all(is_token_byte) || !is_value {
            return Err(format!("no header: {line:?}"));
        }
        let lower = name.to_ascii_lowercase();
        if HOPS.contains(&lower.as_str()) || lower.starts_with("x-hop") {
            return Err(format!("a header of another connection: {line:?}"));
        }
        headers.push((lower, value.to_owned()));
    }
    Ok(Some((Message { start, headers, body: Vec::new(), by_close: false }, end + 4)))
}

fn length(message: &Message) -> Result<Option<usize>, String> {
    match message.all("content-length")[..] {
        [] => Ok(None),
        [length] if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Some).map_err(|error| format!("{length}: {error}"))
        }
        ref lengths => Err(format!("Content-Length {lengths:?}")),
    }
}

/// The body in chunks without extensions and trailers, and its size on the wire if it is whole.
fn chunks(bytes: &[u8]) -> Result<(Vec<u8>, Option<usize>), String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok((body, None));
        };
        let digits = std::str::from_utf8(&bytes[at..at + line]).unwrap_or("?");
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("chunk {digits:?}"))?;
        let begin = at + line + 2;
        let Some(piece) = bytes.get(begin..begin + size + 2) else { return Ok((body, None)) };
        if !piece.ends_with(b"\r\n") {
            return Err(format!("a chunk of {size} bytes does not end"));
        }
        body.extend(&piece[..size]);
        at = begin + size + 2;
        if size == 0 {
            return Ok((body, Some(at)));
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
