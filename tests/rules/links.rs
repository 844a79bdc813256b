//! Every relative link in a Markdown file leads to a file that exists and, after `#`, to one of its
//! headings.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders without pages of ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules"];

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap_or_default();
            if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name) {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The lines of a page that are not in a code block.
fn prose(page: &Path) -> Vec<String> {
    let mut in_code = false;
    let text = fs::read_to_string(page).unwrap();
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    });
    lines.map(str::to_owned).collect()
}

/// The anchors of a page's headings, as code forges make them: lower case, blanks as `-`, other
/// signs left out.
fn anchors(page: &Path) -> Vec<String> {
    let headings = prose(page).into_iter().filter(|line| line.starts_with('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let slug = |line: String| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        text.chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// What stands in `](…)` on a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.iter().any(|page| page.ends_with("README.md")));
    let mut dead = Vec::new();
    for page in pages {
        for line in prose(&page) {
            for link in links(&line).filter(|link| !link.contains("://")) {
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = match file {
                    "" => page.clone(),
                    file => page.parent().unwrap().join(file),
                };
                let found = target.exists()
                    && (anchor.is_empty() || anchors(&target).iter().any(|known| known == anchor));
                if !found {
                    dead.push(format!("{}: {link}", page.display()));
                }
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
}
