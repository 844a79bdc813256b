//! What each target begins with: what the repository's tests and examples have.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../tests/it/http/strict/case.rs"]
mod case;

/// The seeds of a target; none if nobody knows it.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match target {
        "wire" => {
            let mut seeds = cases(&root, "requests", |case| case.sends.concat());
            seeds.extend(cases(&root, "answers", |case| case.answers.concat()));
            seeds.extend(APART.iter().map(|text| text.to_vec()));
            seeds
        }
        "scanner" | "openai" => files(&root.join("tests/golden"), "json"),
        "sse" | "decoder" => files(&root.join("tests/golden"), "sse"),
        "config" => files(&root.join("examples"), "yaml"),
        "multipart" => forms(),
        _ => Vec::new(),
    }
}

/// Chunks without a head, and what hyper once did not read alike.
const APART: &[&[u8]] = &[
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;name=\"x\"\r\nhello\r\n00A \t;y\r\n0123456789\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n",
    b"0\r\nX: \x7f\r\n\r\n",
    b"ffffffffffffffff\r\nhello",
    b"1\r\na\r\n0\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        GET /v1/info HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive, \xe9\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n0\r\n\r\n",
];

/// What the cases of the strict tests send, of those that are not long.
fn cases(root: &Path, folder: &str, bytes: fn(&case::Case) -> Vec<u8>) -> Vec<Vec<u8>> {
    let texts = files(&root.join("tests/it/http/strict").join(folder), "txt");
    let texts = texts.iter().filter_map(|text| str::from_utf8(text).ok());
    let sent = texts.flat_map(case::parse).map(|case| bytes(&case));
    sent.filter(|bytes| !bytes.is_empty() && bytes.len() < 4096).collect()
}

fn forms() -> Vec<Vec<u8>> {
    let user = "Content-Disposition: form-data; name=\"user\"\r\n\r\nalice";
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
        Content-Type: text/plain\r\n\r\nhello\r\n--not the boundary\r\n";
    let form = |boundary: &str, parts: &[&str]| {
        let mut text = format!("multipart/form-data; boundary={boundary}\n");
        let boundary = boundary.trim_matches('"');
        for part in parts {
            text.push_str(&format!("--{boundary}\r\n{part}\r\n"));
        }
        format!("{text}--{boundary}--\r\n").into_bytes()
    };
    vec![
        form("rig", &[user, file]),
        form("rig", &[file, user]),
        form("\"a b\"", &[user]),
        form("-----------------------------974767299852498929531610575", &[file]),
        form("rig", &[]),
    ]
}

/// The files below a folder whose names end so, in order of their names.
fn files(folder: &Path, end: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.extension().is_some_and(|known| known == end) {
            found.extend(fs::read(&path).ok());
        }
    }
    found
}
