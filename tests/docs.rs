//! Pages that are made of the program are as the program makes them.

use std::fs;
use std::path::{Path, PathBuf};

use difygate::config;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_about_the_configuration_is_the_schemas() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap_or_default();
    assert!(page == config::markdown(), "docs/configuration.md is out of date: run `make docs`");
}

#[test]
fn every_key_is_on_the_page_and_every_link_leads_somewhere() {
    let page = config::markdown();
    let schema = config::schema();
    let maps = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for key in maps.filter_map(|map| map["properties"].as_object()).flat_map(|map| map.keys()) {
        assert!(page.contains(&format!("\n| `{key}` |")), "{key}");
    }
    let headings: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|line| line.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
        .collect();
    for (at, _) in page.match_indices("(#") {
        let target = page[at + 2..].split(')').next().unwrap();
        assert!(headings.iter().any(|heading| heading == target), "{target}: {headings:?}");
    }
}

#[test]
fn links_between_the_pages_lead_to_files() {
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/configuration.md"] {
        let path = root().join(page);
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            let local = !target.is_empty() && !target.contains("://");
            let file = path.parent().unwrap_or(Path::new("")).join(target);
            assert!(!local || file.exists(), "{page}: {target}");
        }
    }
}
