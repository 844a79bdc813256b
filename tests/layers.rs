//! The walls between the rooms: which may import which. The table is the architecture; a new arrow
//! is a decision to be made here and in `ARCHITECTURE.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its own functions")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// `room: what it may import`.
const TABLE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "admin",
            "affinity",
            "balance",
            "config",
            "control",
            "conversation",
            "dify",
            "gateway",
            "import",
            "model",
            "store",
            "telemetry",
        ],
    ),
    ("admin", &["affinity", "balance", "control", "conversation", "gateway", "model", "telemetry"]),
    ("control", &["balance", "config", "gateway", "model", "telemetry"]),
    (
        "gateway",
        &["adapter", "affinity", "balance", "conversation", "dify", "model", "sse", "telemetry"],
    ),
    ("adapter", &["dify", "model", "sse"]),
    ("dify", &["model", "sse"]),
    ("config", &["model"]),
    ("balance", &["model"]),
    ("import", &[]),
    ("affinity", &["model", "store", "telemetry"]),
    ("conversation", &["model", "store", "telemetry"]),
    ("store", &["model"]),
    ("telemetry", &["model"]),
    ("model", &[]),
    ("sse", &[]),
];

/// Only the command line may simulate.
const SIMULATES: &[&str] = &["cli"];

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The room of a file: the first part of its path below `src`.
fn room(file: &Path) -> String {
    let below = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a text names: `crate::room` and, in `main.rs`, `difygate::room`.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let names = ["crate::", "difygate::"].into_iter().flat_map(|root| {
        code.match_indices(root).map(|(at, _)| at + root.len()).collect::<Vec<_>>()
    });
    names
        .flat_map(|at| {
            let rest = &code[at..];
            // `use crate::{a::b, c}` names several.
            let list =
                rest.strip_prefix('{').and_then(|rest| rest.split_once("};")).map(|(l, _)| l);
            let parts: Vec<_> = list.map_or(vec![rest], |list| list.split(',').collect());
            parts.into_iter().map(first_word).collect::<Vec<_>>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn no_room_imports_what_the_table_does_not_allow() {
    let rooms: BTreeSet<_> = TABLE.iter().map(|(room, _)| *room).collect();
    let mut breaches = Vec::new();
    for file in sources() {
        let own = room(&file);
        if own == "lib" {
            continue;
        }
        let Some((_, allowed)) = TABLE.iter().find(|(room, _)| *room == own) else {
            breaches.push(format!("{}: room `{own}` is not in the table", file.display()));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for import in imports(&text) {
            let known = rooms.contains(import.as_str());
            if known && import != own && !allowed.contains(&import.as_str()) {
                breaches.push(format!("{}: `{own}` imports `{import}`", file.display()));
            }
        }
        if text.contains("dify_sim") && !SIMULATES.contains(&own.as_str()) {
            breaches.push(format!("{}: `{own}` uses the simulator", file.display()));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_room_of_the_table_exists() {
    let rooms: BTreeSet<_> = sources().iter().map(|file| room(file)).collect();
    for (name, _) in TABLE {
        assert!(rooms.contains(*name), "no room `{name}`");
    }
}

#[test]
fn the_simulator_does_not_know_the_gateway() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("dify-sim/Cargo.toml");
    assert!(!fs::read_to_string(manifest).unwrap().contains("difygate"));
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    let text = "use crate::balance::{A, B};\n// use crate::config;\nuse crate::{dify::x, sse};\nfn f() { crate::cli::run() }";
    let expected = ["balance", "cli", "dify", "sse"].map(str::to_owned);
    assert_eq!(imports(text), expected.into_iter().collect());
}
