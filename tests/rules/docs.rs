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
    let properties = maps.filter_map(|map| map["properties"].as_object()).flatten();
    for (key, _) in properties.filter(|(_, property)| property["deprecated"] != true) {
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

/// The tests that a page's table of Dify's versions names.
fn rows_of_versions(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap_or_default();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    let tests = rows.filter_map(|row| row.rsplit('`').nth(1));
    tests.filter(|test| test.contains("::")).map(str::to_owned).collect()
}

#[test]
fn each_row_about_a_version_of_dify_is_a_test_that_exists() {
    let rows = rows_of_versions("docs/guide.md");
    assert!(rows.len() > 15, "{}", rows.len());
    assert_eq!(rows, rows_of_versions("docs/guide.zh-CN.md"));
    for test in rows {
        let (path, name) = test.rsplit_once("::").unwrap();
        let file = root().join("tests/it").join(path.replace("::", "/")).with_extension("rs");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{test}: {error}"));
        assert!(text.contains(&format!("async fn {name}(")), "{test}");
    }
}

/// All tests of `tests/it`, as text.
fn integration_tests() -> String {
    let (mut text, mut folders) = (String::new(), vec![root().join("tests/it")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

#[test]
fn each_test_that_the_readme_names_exists() {
    let tests = integration_tests();
    for page in ["README.md", "README.zh-CN.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| "));
        let code = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
        let of_a_test = |name: &&str| {
            name.matches('_').count() > 3
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        let names: Vec<_> = code.filter(of_a_test).collect();
        assert!(names.len() >= 5, "{page}: {names:?}");
        for name in names {
            assert!(tests.contains(&format!("async fn {name}()")), "{page}: {name}");
        }
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
