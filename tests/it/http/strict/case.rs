//! The table of cases: text files, a block for each case.
//!
//! ```text
//! == the name of the case
//! rfc 9112 6.3                 what asks for the outcome
//! client 400 close             the statuses that the client gets; `close`: nothing after them,
//!                              `either`: perhaps; else the connection serves another request;
//!                              `400|408` is one of both, `408?` may be missing
//! instance POST /v1/up 5       what the instance gets: method, target, body bytes; a line each
//! body hello                   the body of the client's (last) answer
//! > GET /v1/up HTTP/1.1        what the client sends; each line ends with CR LF,
//! > no end of line\            unless a backslash stands at its end
//! < HTTP/1.1 200 OK            what the instance answers, instead of an echo
//! ```
//!
//! In bytes, `\r \n \t \0 \xHH \\` are escapes, `{head}` is a valid `Host` and `Authorization`,
//! `{auth}` the latter alone, and `{abc*3}` repeats. `pause` between lines lets them go out apart.
//! `hold` keeps the instance's connection open after its answer. Where nothing else is said, the
//! client asks for `/v1/up`.

/// One case.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub name: String,
    /// What asks for the outcome: a section of an RFC, or a decision of this project.
    pub rfc: String,
    /// What the client sends, in pieces.
    pub sends: Vec<Vec<u8>>,
    /// What the instance answers; empty for an echo.
    pub answers: Vec<Vec<u8>>,
    /// The statuses that the client gets; `200h` has no body by its nature, `200!` is visibly cut.
    pub statuses: Vec<String>,
    /// Nothing comes after them.
    pub closes: bool,
    /// They may close the connection or not: it depends on how much of the request had come.
    pub either: bool,
    /// The instance keeps its connection open after its answer.
    pub holds: bool,
    /// What the instance gets.
    pub instance: Vec<String>,
    /// The body of the last answer.
    pub body: Option<Vec<u8>>,
}

/// The cases of a file.
pub(super) fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => {}
            (">", rest) => push(&mut case.sends, rest),
            ("<", rest) => push(&mut case.answers, rest),
            ("pause", "answer") => case.answers.push(Vec::new()),
            ("pause", _) => case.sends.push(Vec::new()),
            ("hold", _) => case.holds = true,
            ("rfc", rest) => rest.clone_into(&mut case.rfc),
            ("body", rest) => case.body = Some(bytes(rest)),
            ("instance", rest) => case.instance.push(rest.to_owned()),
            ("client", rest) => {
                (case.closes, case.either) = (rest.ends_with("close"), rest.ends_with("either"));
                let words = rest.split(' ').filter(|word| !matches!(*word, "close" | "either"));
                case.statuses = words.map(str::to_owned).collect();
            }
            _ => panic!("{}: {line:?} means nothing", case.name),
        }
    }
    for case in &mut cases {
        if case.sends.is_empty() {
            push(&mut case.sends, "GET /v1/up HTTP/1.1\\r\\n{head}\\r\\n");
            case.instance.push("GET /v1/up 0".to_owned());
        }
        assert!(!case.rfc.is_empty() && !case.statuses.is_empty() || case.closes, "{case:?}");
    }
    cases
}

fn push(pieces: &mut Vec<Vec<u8>>, line: &str) {
    if pieces.is_empty() {
        pieces.push(Vec::new());
    }
    let piece = pieces.last_mut().unwrap();
    // An even number of backslashes at the end are escaped ones.
    let slashes = line.chars().rev().take_while(|char| *char == '\\').count();
    if slashes % 2 == 1 {
        piece.extend(bytes(&line[..line.len() - 1]));
    } else {
        piece.extend(bytes(line));
        piece.extend(b"\r\n");
    }
}

fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '\\' => escape(after, &mut bytes),
            '{' => match after.split_once('}') {
                Some((word, tail)) if placed(word, &mut bytes) => tail,
                _ => {
                    bytes.push(b'{');
                    after
                }
            },
            _ => {
                bytes.extend(first.to_string().as_bytes());
                after
            }
        };
    }
    bytes
}

fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let (byte, used) = match text.as_bytes()[0] {
        b'r' => (b'\r', 1),
        b'n' => (b'\n', 1),
        b't' => (b'\t', 1),
        b'0' => (0, 1),
        b'\\' => (b'\\', 1),
        b'x' => (u8::from_str_radix(&text[1..3], 16).unwrap(), 3),
        _ => panic!("no such escape: {text:?}"),
    };
    bytes.push(byte);
    &text[used..]
}

fn placed(word: &str, bytes: &mut Vec<u8>) -> bool {
    const AUTH: &str = "Authorization: Bearer usertoken--shop";
    match (word, word.rsplit_once('*')) {
        ("head", _) => bytes.extend(format!("Host: g\r\n{AUTH}").as_bytes()),
        ("auth", _) => bytes.extend(AUTH.as_bytes()),
        (_, Some((text, times))) if times.parse::<usize>().is_ok() => {
            bytes.extend(self::bytes(text).repeat(times.parse().unwrap()));
        }
        _ => return false,
    }
    true
}
