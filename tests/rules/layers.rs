//! The walls between the rooms: which may import which. The table is the architecture; a new arrow
//! is a decision to be made here and in `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
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
    ("control", &["background", "balance", "config", "gateway", "model", "telemetry"]),
    (
        "gateway",
        &[
            "adapter",
            "affinity",
            "background",
            "balance",
            "conversation",
            "dify",
            "model",
            "sse",
            "telemetry",
        ],
    ),
    ("adapter", &["dify", "model", "sse"]),
    ("dify", &["model", "sse"]),
    ("config", &["background", "model"]),
    ("balance", &["model"]),
    ("discovery", &["model"]),
    ("import", &[]),
    ("affinity", &["model", "store", "telemetry"]),
    ("conversation", &["model", "store", "telemetry"]),
    ("store", &["model"]),
    ("telemetry", &["model"]),
    ("background", &[]),
    ("model", &[]),
    ("sse", &[]),
];

/// The same within `gateway`: each of its rooms imports only those before it. `handle` and `route` are
/// files, `fuzzing` opens what `fuzz/` needs.
const GATEWAY: &[&str] = &[
    "http", "state", "upstream", "proxy", "ai", "ingress", "route", "handle", "server", "fuzzing",
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

/// The room of `gateway` that a file is in; none of `gateway/mod.rs`, which declares them.
fn gateway_room(file: &Path) -> Option<usize> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway");
    let first = file.strip_prefix(below).ok()?.components().next()?.as_os_str().to_str()?;
    GATEWAY.iter().position(|room| *room == first.trim_end_matches(".rs"))
}

#[test]
fn no_room_of_the_gateway_imports_a_later_one() {
    let mut breaches = Vec::new();
    for file in sources() {
        let Some(own) = gateway_room(&file) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for import in paths(&text, &modules_of(&file)) {
            let Some(later) = import.strip_prefix("gateway::") else { continue };
            let room = later.split("::").next().unwrap_or_default();
            if let Some(place) = GATEWAY.iter().position(|name| *name == room)
                && place > own
            {
                breaches.push(format!("{}: imports `{import}`", file.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// The module that a file is: its path below `src`.
fn modules_of(file: &Path) -> Vec<String> {
    let below = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let mut parts: Vec<String> = below
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// A text without comments and without the test module at its end.
fn code(text: &str) -> String {
    let modules = text.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at);
    let is_inline = |at: &usize| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{'));
    let end = modules.into_iter().find(is_inline).unwrap_or(text.len());
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text[..end].lines().filter(is_code).flat_map(|line| [line, "\n"]).collect()
}

/// The paths from `src` on that a module's text names, in `use` trees and in full.
fn paths(text: &str, own: &[String]) -> BTreeSet<String> {
    let code = code(text);
    let mut paths = BTreeSet::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            // The `super` of a module within the file is the file.
            let inner = [own, &["inner".to_owned()]].concat();
            let own = if is_in_inner_module(&code, at) { &inner } else { own };
            for leaf in leaves(&code[at..]) {
                paths.extend(absolute(&leaf, own));
            }
        }
    }
    paths.extend(children(&code, own));
    paths
}

/// Whether a place lies in a module that is written within the file.
fn is_in_inner_module(code: &str, at: usize) -> bool {
    let before = &code[..at];
    let begins = |line: &str| line.split_once("mod ").is_some_and(|(_, rest)| rest.ends_with('{'));
    let is_module = |line: &str| !line.starts_with(' ') && begins(line);
    let last = before.lines().rfind(|line| *line == "}" || is_module(line));
    last.is_some_and(is_module)
}

/// The modules that a text declares and names by a bare path, as in `mod child; … child::run()`.
fn children(code: &str, own: &[String]) -> BTreeSet<String> {
    let lines = code.lines().filter_map(|line| line.trim_end().strip_suffix(';'));
    let declared = lines.filter_map(|line| line.rsplit_once("mod ").map(|(_, name)| name));
    let is_named = |name: &&str| {
        code.match_indices(&format!("{name}::")).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        })
    };
    let named = declared.filter(is_named);
    named.map(|name| [own, &[name.to_owned()]].concat().join("::")).collect()
}

/// What a path or a tree of paths names that a text begins with.
fn leaves(text: &str) -> Vec<String> {
    let path: String =
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')).collect();
    let rest = &text[path.len()..];
    if !path.ends_with("::") || !rest.starts_with('{') {
        return vec![path.trim_end_matches(':').to_owned()];
    }
    let mut out = Vec::new();
    let (mut depth, mut begin) = (0, 1);
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (c == ',' && depth == 1) || depth == 0 {
            let part = rest[begin..at].trim();
            if !part.is_empty() {
                out.extend(leaves(part).into_iter().map(|leaf| format!("{path}{leaf}")));
            }
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    out
}

/// A path of a module, from `src` on.
fn absolute(path: &str, own: &[String]) -> Option<String> {
    let mut parts: Vec<&str> = path.split("::").filter(|part| *part != "self").collect();
    if parts.first() == Some(&"crate") {
        parts.remove(0);
        return Some(parts.join("::"));
    }
    let mut base = own.to_vec();
    while parts.first() == Some(&"super") {
        parts.remove(0);
        base.pop()?;
    }
    base.extend(parts.into_iter().map(str::to_owned));
    Some(base.join("::"))
}

/// What a path means once re-exports (`pub use`) are followed: the module that has the item.
fn module_of(
    path: &str,
    modules: &BTreeSet<String>,
    exports: &BTreeMap<String, String>,
) -> Option<String> {
    let mut path = path.to_owned();
    for _ in 0..8 {
        let parts: Vec<_> = path.split("::").collect();
        let known = (1..=parts.len()).rev().map(|n| parts[..n].join("::"));
        let module = known.into_iter().find(|known| modules.contains(known))?;
        let item = path.strip_prefix(&format!("{module}::"));
        let Some(item) = item.and_then(|item| item.split("::").next()) else { return Some(module) };
        match exports.get(&format!("{module}::{item}")) {
            Some(to) if *to != path => path = to.clone(),
            _ => return Some(module),
        }
    }
    None
}

/// What modules re-export: `module::Name` to where it is.
fn exports(text: &str, own: &[String]) -> Vec<(String, String)> {
    let code = code(text);
    let mut out = Vec::new();
    for line in code.split(';').filter(|line| line.contains("use ")) {
        let Some((visible, tree)) = line.split_once("use ") else { continue };
        if !visible.trim_end().ends_with("pub") && !visible.trim_end().ends_with(')') {
            continue;
        }
        for leaf in leaves(tree.trim()) {
            let is_relative = !["crate", "super", "self"].contains(&first_word(&leaf).as_str());
            let leaf = if is_relative { format!("self::{leaf}") } else { leaf };
            let Some(to) = absolute(&leaf, own) else { continue };
            let name = to.rsplit("::").next().unwrap_or_default().to_owned();
            out.push(([own, &[name]].concat().join("::"), to));
        }
    }
    out
}

/// Which file imports which, by their modules; tests are no part of the house.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let is_test = |module: &str| {
        let parts = module.split("::");
        parts.into_iter().any(|part| part.contains("tests") || part.ends_with("laws"))
    };
    let texts: Vec<_> = sources()
        .into_iter()
        .map(|file| (modules_of(&file), fs::read_to_string(&file).unwrap()))
        .filter(|(own, _)| !is_test(&own.join("::")))
        .collect();
    let modules: BTreeSet<_> = texts.iter().map(|(own, _)| own.join("::")).collect();
    let exports: BTreeMap<_, _> = texts.iter().flat_map(|(own, text)| exports(text, own)).collect();
    let mut arrows = BTreeMap::new();
    for (own, text) in &texts {
        let name = own.join("::");
        let to = paths(text, own).into_iter();
        let to = to.filter_map(|path| module_of(&path, &modules, &exports));
        let to: BTreeSet<_> = to.filter(|to| *to != name && !to.is_empty()).collect();
        arrows.insert(name, to);
    }
    arrows
}

/// Whether `to` can be reached from `from`.
fn reaches(arrows: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(at) = open.pop() {
        for next in arrows.get(&at).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    false
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let arrows = arrows();
    let circle: Vec<_> = arrows.keys().filter(|file| reaches(&arrows, file, file)).collect();
    assert!(circle.is_empty(), "in a circle: {circle:#?}");
}

#[test]
fn a_circle_is_seen_through_a_re_export() {
    let own = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let text = "mod leaf;\npub use self::leaf::{Thing, other::Far};\n#[cfg(test)]\nmod tests {}";
    let exports: BTreeMap<_, _> = exports(text, &own("room")).into_iter().collect();
    let modules = ["room", "room::leaf"].map(str::to_owned).into_iter().collect();
    let of = |path: &str| module_of(path, &modules, &exports);
    assert_eq!(of("room::Thing").as_deref(), Some("room::leaf"));
    assert_eq!(of("room::own").as_deref(), Some("room"));
    let bare = "mod leaf;\nmod other;\nfn f() { leaf::run(); another::run() }";
    assert_eq!(paths(bare, &own("room")), ["room::leaf".to_owned()].into());
    let named =
        paths("use super::{Thing, leaf::X};\nfn f(a: crate::room::own) {}", &own("room::b"));
    let expected = ["room::Thing", "room::leaf::X", "room::own"].map(str::to_owned);
    assert_eq!(named, expected.into_iter().collect());
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
