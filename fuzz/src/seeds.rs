//! What each target begins with: what the repository's tests and examples have.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../tests/it/strict/case.rs"]
mod case;

/// The seeds of a target; none if nobody knows it.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match target {
        "head" => files(&root.join("tests/it/strict/requests"), "txt")
            .iter()
            .filter_map(|text| str::from_utf8(text).ok())
            .flat_map(case::parse)
            .map(|case| case.sends.concat())
            .filter(|bytes| bytes.len() < 4096)
            .collect(),
        "scanner" | "openai" => files(&root.join("tests/golden"), "json"),
        "sse" => files(&root.join("tests/golden"), "sse"),
        "config" => files(&root.join("examples"), "yaml"),
        "multipart" => forms(),
        _ => Vec::new(),
    }
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
