//! What the pages show of configurations is what `check` takes: each YAML example, and each value in the
//! tables of `docs/configuration.md`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use difygate::config::{self, Diagnostics, Environment, Loaded};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with every secret that an example may name, and all variables set.
struct Secrets {
    folder: TempDir,
}

impl Secrets {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// What `check` says of a configuration.
    fn check(&self, text: &str) -> Result<Loaded, Diagnostics> {
        let folder = self.folder.path();
        let text = text.replace("/run/secrets", &folder.display().to_string());
        for (at, _) in text.match_indices("file:") {
            let end = |c: char| c.is_whitespace() || "\"',}]".contains(c);
            let file =
                folder.join(text[at + "file:".len()..].trim_start().split(end).next().unwrap());
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("secret-{at}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let names = text.match_indices("${").map(|(at, _)| {
            let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
            text[at + 2..].chars().take_while(word).collect::<String>()
        });
        let vars = names.map(|name| (name.clone(), format!("value-of-{name}"))).collect();
        config::parse(
            "page.yaml",
            &text,
            &Environment { vars, base: folder.to_owned(), ..Environment::default() },
        )
    }
}

fn read(text: &str) -> Value {
    // `off` is a word and no boolean, as for the gateway.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The README files and all of `docs`.
fn pages() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut pages: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages.sort();
    pages
}

/// The YAML examples of a page, and the line of each.
fn examples(page: &str) -> Vec<(usize, &str)> {
    let starts = page.match_indices("```yaml\n").map(|(at, fence)| at + fence.len());
    let example = |at: usize| {
        let text = page[at..].split("```").next().unwrap();
        (page[..at].lines().count(), text)
    };
    starts.map(example).collect()
}

/// An example with what it leaves out of a whole configuration.
fn whole(example: &str) -> String {
    let mut value = read(example);
    let top = value.as_object_mut().unwrap();
    let own = |top: &mut Map<String, Value>, key: &str| top.remove(key).unwrap_or_default();
    let instance = json!([{ "name": "one", "host": "127.0.0.1", "token": "app-one" }]);
    if top.contains_key("instances") {
        let instances = own(top, "instances");
        top.insert("apps".into(), json!({ "shop": { "instances": instances } }));
    }
    if !top.get("apps").is_some_and(Value::is_object) {
        top.insert("apps".into(), json!({ "shop": {} }));
        for key in top.get("keys").and_then(Value::as_array).cloned().unwrap_or_default() {
            for app in key["apps"].as_array().into_iter().flatten() {
                top["apps"][app.as_str().unwrap()] = json!({});
            }
        }
    }
    if top.contains_key("client_certificates") && !top.contains_key("tls") {
        top.insert("tls".into(), json!([{ "cert": "gateway.pem", "key": "gateway.key" }]));
    }
    // What stands at the top is read by an app that says nothing of it.
    top["apps"]["another"] = json!({});
    for (name, app) in top["apps"].as_object_mut().unwrap() {
        let app = app.as_object_mut().unwrap();
        app.entry("instances").or_insert_with(|| instance.clone());
        app.entry("user_tokens").or_insert_with(|| json!([format!("usertoken--{name}")]));
    }
    value.to_string()
}

#[test]
fn every_yaml_example_of_a_page_passes_check() {
    let secrets = Secrets::new();
    let (mut checked, mut wrong) = (0, String::new());
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        // Some are rules of Prometheus.
        let examples = examples(&page).into_iter().filter(|(_, text)| !text.starts_with("groups:"));
        for (line, example) in examples {
            checked += 1;
            let findings = match secrets.check(&whole(example)) {
                Ok(loaded) => loaded.warnings,
                Err(findings) => findings,
            };
            for finding in findings.to_string().lines() {
                // "page.yaml:1:2: error: unknown key `x`"; a page may be about a mistake, and show it.
                let finding = finding.splitn(3, ": ").skip(1).collect::<Vec<_>>().join(": ");
                if !page.contains(&finding) {
                    writeln!(wrong, "{}:{line}: {finding}", path.display()).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(checked > 20, "{checked} examples");
}

/// A line of a table: where its key stands, and what the page says of it.
#[derive(Debug)]
struct Row {
    path: Vec<String>,
    default: String,
    example: String,
}

/// The lines of the tables in `docs/configuration.md`.
fn rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut section = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let steps = heading.trim_matches('`').replace("[]", ".[]");
            let top = heading == "At the top";
            section = steps.split('.').filter(|_| !top).map(str::to_owned).collect();
        }
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        if let [key, _, default, example, ..] = cells[..]
            && let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`'))
        {
            let mut path = section.clone();
            path.push(key.to_owned());
            let (default, example) = (default.to_owned(), example.to_owned());
            rows.push(Row { path, default, example });
        }
    }
    rows
}

/// What stands in backquotes, as one writes it in a configuration.
fn written(cell: &str) -> Option<&str> {
    match cell {
        "none" => Some("[]"),
        cell => cell.strip_prefix('`')?.strip_suffix('`').filter(|text| !text.contains('`')),
    }
}

/// The map that has the key of a row, the first where there are several.
fn owner<'v>(mut value: &'v mut Value, path: &[String]) -> Option<&'v mut Map<String, Value>> {
    let (key, above) = path.split_last().unwrap();
    for step in above {
        value = match step.as_str() {
            "<name>" => value.as_object_mut()?.values_mut().next()?,
            "[]" => value.as_array_mut()?.iter_mut().find(|item| item.get(key).is_some())?,
            step => value.get_mut(step)?,
        };
    }
    value.as_object_mut()
}

/// The full example with one key as it is written here, or without it.
fn full_with(path: &[String], text: Option<&str>) -> Option<String> {
    let mut full = read(&fs::read_to_string(root().join("examples/full.yaml")).unwrap());
    let owner = owner(&mut full, path)?;
    let key = path.last().unwrap();
    owner.remove(key);
    if let Some(text) = text {
        owner.insert(key.clone(), read(&format!("v: {text}"))["v"].clone());
    }
    Some(full.to_string())
}

#[test]
fn every_example_on_the_page_of_keys_is_a_value_that_its_key_takes() {
    let secrets = Secrets::new();
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let (mut checked, mut refused) = (0, String::new());
    for row in rows(&page) {
        let Some(text) = written(&row.example).and_then(|text| full_with(&row.path, Some(text)))
        else {
            continue;
        };
        checked += 1;
        if let Err(findings) = secrets.check(&text) {
            writeln!(refused, "{row:?}: {findings}").unwrap();
        }
    }
    assert!(refused.is_empty(), "{refused}");
    assert!(checked > 80, "{checked} examples");
}

#[test]
fn every_default_on_the_page_of_keys_is_what_holds_without_the_key() {
    let secrets = Secrets::new();
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let (mut checked, mut wrong) = (0, String::new());
    for row in rows(&page) {
        let Some(text) = written(&row.default) else { continue };
        let (Some(with), Some(without)) =
            (full_with(&row.path, Some(text)), full_with(&row.path, None))
        else {
            continue;
        };
        // Where others need the key, its default cannot stand for it.
        let Ok(without) = secrets.check(&without) else { continue };
        checked += 1;
        match secrets.check(&with) {
            Ok(with) if format!("{:?}", with.config) == format!("{:?}", without.config) => {}
            Ok(_) => writeln!(wrong, "{row:?} is not the default").unwrap(),
            Err(findings) => writeln!(wrong, "{row:?}: {findings}").unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(checked > 50, "{checked} defaults");
}
