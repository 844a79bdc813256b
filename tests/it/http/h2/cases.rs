//! What a client must not do by RFC 9113, section by section; and some that it may.

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame, get, request,
};

pub(crate) const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// What must come of a case.
pub(crate) enum Must {
    /// The connection ends with this code, with the general one, or without a word.
    End(u32),
    /// The stream or the connection ends with one of these codes.
    Fail(&'static [u32]),
    /// The request on stream 1 is answered so.
    Answer(u16),
    /// It is passed over: a good request on stream 101 is answered.
    Ignore,
}

/// One breach, or what looks like one.
pub(crate) struct Case {
    pub section: &'static str,
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub must: Must,
}

fn case(section: &'static str, what: &'static str, bytes: Vec<u8>, must: Must) -> Case {
    Case { section, what, bytes, must }
}

/// A request with these fields in place of all others.
fn with(list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(list))
}

/// A good request with more fields.
pub(crate) fn also(more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", more))
}

/// The head of a request whose body is to come.
pub(crate) fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/v1/chat-messages"),
        (":authority", "localhost"),
        ("authorization", "Bearer usertoken--shop"),
    ];
    frame(HEADERS, END_HEADERS, 1, &fields(&[&usual, more].concat()))
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// Frames and streams.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn frames() -> Vec<Case> {
    let block = request("GET", &[]);
    let open = frame(HEADERS, END_STREAM, 1, &block[..5]);
    let number = |value: u32| value.to_be_bytes().to_vec();
    let most = number(0x7fff_ffff);
    let long = vec![0; 16_385];
    use Must::{Answer, End, Fail, Ignore};
    vec![
        case("4.1", "a frame of no known kind", frame(0x16, 0, 0, b"x"), Ignore),
        case("4.1", "flags of no meaning", frame(PING, 0xfe, 0, &[0; 8]), Ignore),
        case("4.1", "the reserved bit", frame(PING, 0, 0x8000_0000, &[0; 8]), Ignore),
        case(
            "4.2",
            "data of more than 16384 bytes",
            [post(&[]), frame(DATA, 0, 1, &long)].concat(),
            Fail(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.2",
            "headers of more than 16384 bytes",
            frame(HEADERS, END_HEADERS, 1, &long),
            End(FRAME_SIZE_ERROR),
        ),
        case(
            "4.3",
            "a block that cannot be unpacked",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 8]),
            End(COMPRESSION_ERROR),
        ),
        case(
            "4.3",
            "a block that another frame cuts in two",
            [open.clone(), frame(PRIORITY, 0, 1, &[0; 5])].concat(),
            End(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "data on an idle stream",
            frame(DATA, END_STREAM, 1, b"x"),
            End(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "a reset of an idle stream",
            frame(RST_STREAM, 0, 1, &number(8)),
            End(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "a window for an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &number(9)),
            End(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &block),
            End(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "data after the end",
            [get(1), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Fail(&[STREAM_CLOSED]),
        ),
        case(
            "5.1",
            "headers after the end",
            [get(1), get(1)].concat(),
            Fail(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        case(
            "5.1",
            "data after a reset",
            [post(&[]), frame(RST_STREAM, 0, 1, &number(8)), frame(DATA, 0, 1, b"x")].concat(),
            Ignore,
        ),
        case("5.1.1", "a stream with an even number", get(2), End(PROTOCOL_ERROR)),
        case(
            "5.1.1",
            "a stream with a lower number",
            [get(5), get(3)].concat(),
            End(PROTOCOL_ERROR),
        ),
        case(
            "5.5",
            "an unknown frame within a block",
            [open.clone(), frame(0x16, 0, 0, b"x")].concat(),
            End(PROTOCOL_ERROR),
        ),
        case("6.1", "data of no stream", frame(DATA, 0, 0, b"x"), End(PROTOCOL_ERROR)),
        case(
            "6.1",
            "more padding than data",
            [post(&[]), frame(DATA, PADDED, 1, b"\x09x")].concat(),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.2",
            "headers of no stream",
            frame(HEADERS, END_HEADERS, 0, &block),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.2",
            "more padding than headers",
            frame(HEADERS, END_HEADERS | PADDED, 1, b"\xffx"),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.2",
            "headers of another stream within a block",
            [open.clone(), get(3)].concat(),
            End(PROTOCOL_ERROR),
        ),
        case("6.3", "a priority of no stream", frame(PRIORITY, 0, 0, &[0; 5]), End(PROTOCOL_ERROR)),
        case(
            "6.3",
            "a priority of four bytes",
            [post(&[]), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
            Fail(&[FRAME_SIZE_ERROR]),
        ),
        case("6.3", "a priority", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), Ignore),
        case(
            "6.4",
            "a reset of no stream",
            frame(RST_STREAM, 0, 0, &number(8)),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.4",
            "a reset of three bytes",
            [post(&[]), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            End(FRAME_SIZE_ERROR),
        ),
        case(
            "6.5",
            "an acknowledgement with settings",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            End(FRAME_SIZE_ERROR),
        ),
        case("6.5", "settings of a stream", frame(SETTINGS, 0, 1, &[]), End(PROTOCOL_ERROR)),
        case(
            "6.5",
            "settings of five bytes",
            frame(SETTINGS, 0, 0, &[0; 5]),
            End(FRAME_SIZE_ERROR),
        ),
        case("6.5.2", "push that is neither on nor off", setting(2, 2), End(PROTOCOL_ERROR)),
        case(
            "6.5.2",
            "a window beyond the largest",
            setting(4, 0x8000_0000),
            End(FLOW_CONTROL_ERROR),
        ),
        case("6.5.2", "frames below the smallest", setting(5, 16_383), End(PROTOCOL_ERROR)),
        case("6.5.2", "frames beyond the largest", setting(5, 1 << 24), End(PROTOCOL_ERROR)),
        case("6.5.2", "a setting of no known kind", setting(0xff, 1), Ignore),
        case(
            "6.6",
            "a promise of a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&number(2)[..], &block].concat()),
            End(PROTOCOL_ERROR),
        ),
        case("6.7", "a ping of a stream", frame(PING, 0, 1, &[0; 8]), End(PROTOCOL_ERROR)),
        case("6.7", "a ping of six bytes", frame(PING, 0, 0, &[0; 6]), End(FRAME_SIZE_ERROR)),
        case("6.8", "a goodbye of a stream", frame(GOAWAY, 0, 1, &[0; 8]), End(PROTOCOL_ERROR)),
        case(
            "6.9",
            "a window of nothing",
            frame(WINDOW_UPDATE, 0, 0, &number(0)),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.9",
            "a window of nothing for a stream",
            [post(&[]), frame(WINDOW_UPDATE, 0, 1, &number(0))].concat(),
            Fail(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.9",
            "a window of three bytes",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            End(FRAME_SIZE_ERROR),
        ),
        case(
            "6.9.1",
            "a window beyond the largest",
            frame(WINDOW_UPDATE, 0, 0, &most).repeat(2),
            End(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.1",
            "a stream's window beyond the largest",
            [post(&[]), frame(WINDOW_UPDATE, 0, 1, &most).repeat(2)].concat(),
            Fail(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.10",
            "a continuation of no stream",
            [open.clone(), frame(CONTINUATION, END_HEADERS, 0, &block[5..])].concat(),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "a continuation of another stream",
            [open.clone(), frame(CONTINUATION, END_HEADERS, 3, &block[5..])].concat(),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "a continuation after the end",
            [get(1), frame(CONTINUATION, END_HEADERS, 1, &block)].concat(),
            End(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "a block in two frames",
            [open, frame(CONTINUATION, END_HEADERS, 1, &block[5..])].concat(),
            Answer(200),
        ),
    ]
}

/// Requests.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn messages() -> Vec<Case> {
    use Must::{Answer, Fail};
    const BAD: Must = Fail(&[PROTOCOL_ERROR]);
    let (m, s, p, a) = (
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/health"),
        (":authority", "localhost"),
    );
    let end = |more: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(more));
    let body = |text: &[u8]| frame(DATA, END_STREAM, 1, text);
    vec![
        case("8.1", "a request", with(&[m, s, p, a]), Answer(200)),
        case(
            "8.1",
            "trailers that are not the end",
            [post(&[]), frame(HEADERS, END_HEADERS, 1, &fields(&[("x", "y")]))].concat(),
            BAD,
        ),
        case(
            "8.1.1",
            "a body shorter than it says",
            [post(&[("content-length", "5")]), body(b"{}")].concat(),
            BAD,
        ),
        case(
            "8.1.1",
            "a body longer than it says",
            [post(&[("content-length", "1")]), body(b"{}")].concat(),
            BAD,
        ),
        case(
            "8.1.1",
            "a length that is no number",
            [post(&[("content-length", "+2")]), body(b"{}")].concat(),
            Fail(&[PROTOCOL_ERROR]),
        ),
        case("8.2", "a name in upper case", also(&[("X-Upper", "1")]), BAD),
        case("8.2.1", "a name with a blank", also(&[("x y", "1")]), BAD),
        case("8.2.1", "a name with a colon", also(&[("x:y", "1")]), BAD),
        case("8.2.1", "an empty name", also(&[("", "1")]), BAD),
        case("8.2.1", "a value with a line break", also(&[("x", "a\r\nb: c")]), BAD),
        case("8.2.1", "a value with NUL", also(&[("x", "a\0b")]), BAD),
        case("8.2.2", "connection", also(&[("connection", "close")]), BAD),
        case("8.2.2", "keep-alive", also(&[("keep-alive", "1")]), BAD),
        case("8.2.2", "proxy-connection", also(&[("proxy-connection", "close")]), BAD),
        case(
            "8.2.2",
            "transfer-encoding",
            [post(&[("transfer-encoding", "chunked")]), body(b"0\r\n\r\n")].concat(),
            BAD,
        ),
        case("8.2.2", "upgrade", also(&[("upgrade", "h2c")]), BAD),
        case("8.2.2", "te: gzip", also(&[("te", "gzip")]), BAD),
        case("8.2.2", "te: trailers", also(&[("te", "trailers")]), Answer(200)),
        case("8.3", "an unknown pseudo header", with(&[m, s, p, a, (":test", "1")]), BAD),
        case("8.3", "a pseudo header of answers", with(&[m, s, p, a, (":status", "200")]), BAD),
        case("8.3", "a pseudo header behind the others", with(&[m, s, a, ("x", "y"), p]), BAD),
        case(
            "8.3",
            "a pseudo header in trailers, which go no further",
            [post(&[]), end(&[(":path", "/")])].concat(),
            // The library drops it unseen; it should be an error, and it changes nothing.
            Answer(415),
        ),
        case("8.3.1", "no :method", with(&[s, p, a]), BAD),
        case("8.3.1", "no :scheme", with(&[m, p, a]), BAD),
        case("8.3.1", "no :path", with(&[m, s, a]), BAD),
        case("8.3.1", "an empty :path", with(&[m, s, (":path", ""), a]), BAD),
        case("8.3.1", ":method twice", with(&[m, m, s, p, a]), BAD),
        case("8.3.1", ":scheme twice", with(&[m, s, s, p, a]), BAD),
        case("8.3.1", ":path twice", with(&[m, s, p, p, a]), BAD),
        case("8.3.1", ":authority twice", with(&[m, s, p, a, a]), BAD),
        case("8.3.1", "no host", with(&[m, s, p]), Answer(400)),
        case(
            "8.3.1",
            "host in place of :authority",
            with(&[m, s, p, ("host", "localhost")]),
            Answer(200),
        ),
        case("8.3.1", "two hosts that agree", also(&[("host", "localhost")]), Answer(200)),
        case("8.3.1", "two hosts that differ", also(&[("host", "other")]), Answer(400)),
        case(
            "8.3.1",
            "host twice",
            also(&[("host", "localhost"), ("host", "localhost")]),
            Answer(400),
        ),
        case(
            "8.3.1",
            "a user in :authority",
            with(&[m, s, p, (":authority", "u@localhost")]),
            Answer(400),
        ),
        case(
            "8.5",
            "CONNECT",
            with(&[(":method", "CONNECT"), (":authority", "localhost:80")]),
            Answer(405),
        ),
        case("8.5", "CONNECT with a path", with(&[(":method", "CONNECT"), s, p, a]), BAD),
        case("9.3.8", "TRACE", with(&[(":method", "TRACE"), s, p, a]), Answer(405)),
        case("10.3", "a path with a blank", with(&[m, s, (":path", "/a b"), a]), BAD),
        case("10.5.1", "too many headers", also(&vec![("x", "y"); 101]), Answer(431)),
        case(
            "10.5.1",
            "a URI that is too long",
            with(&[m, s, (":path", &format!("/{}", "a".repeat(9000))), a]),
            Answer(414),
        ),
    ]
}
