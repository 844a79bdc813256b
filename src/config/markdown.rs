//! The page about the configuration, `docs/configuration.md`, made of the JSON Schema.
//!
//! Types, defaults and meanings are the schema's; the examples are the values that
//! `examples/full.yaml` has, which is tested. So the page cannot say what the reader does not do.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::schema;
use crate::model::value_schema;

const HEAD: &str = "\
<!-- Made by `make docs` from the types. Do not edit. -->

# Configuration

A configuration is one YAML file. `difygate check difygate.yaml` says what is wrong with one, and
where. Unknown keys are refused. A changed file is read again by itself; what needs a restart says so
in the log.

Any value may name an environment variable: `${NAME}`, or `${NAME:-default}`; `$${` is a plain `${`.
A secret may be `file:` and a path. Keys at the top that begin with `x-` are ignored and may hold
anchors. Durations are written `500ms`, `30s`, `1m30s`, `2h`, or as a number of seconds; sizes `256KiB`,
`15MiB`, `10MB`, or as a number of bytes.

An editor with a YAML language server completes and checks the keys:

```sh
difygate schema > difygate.schema.json
```

```yaml
# yaml-language-server: $schema=difygate.schema.json
apps:
```

Whole files to begin with are in [examples/](../examples/).
";

const FULL: &str = include_str!("../../examples/full.yaml");

/// The page.
pub fn markdown() -> String {
    let schema = schema::schema();
    // Without an example a key stands there all the same, and a test reads the file.
    // `off` is a word there, not a boolean.
    let options = serde_saphyr::options! { strict_booleans: true };
    let example = serde_saphyr::from_str_with_options(FULL, options).unwrap_or_default();
    let root = Section { paths: vec![String::new()], schema: &schema, rows: String::new() };
    let mut page = Page { schema: &schema, example, sections: vec![root] };
    let mut described = 0;
    while described < page.sections.len() {
        page.sections[described].rows = page.rows(described);
        described += 1;
    }
    page.sections.iter().map(Section::text).fold(HEAD.to_owned(), |page, text| page + &text)
}

/// A map, where it may stand, and a line for each of its keys.
struct Section<'s> {
    paths: Vec<String>,
    schema: &'s Value,
    rows: String,
}

impl Section<'_> {
    fn text(&self) -> String {
        let mut text = match self.paths[0].as_str() {
            "" => "\n## At the top\n\n".to_owned(),
            path => format!("\n## `{path}`\n\n{}\n\n", words(self.schema)),
        };
        for other in &self.paths[1..] {
            text += &format!("Also as `{other}`.\n\n");
        }
        text + "| key | type | default | example | meaning |\n|---|---|---|---|---|\n" + &self.rows
    }
}

struct Page<'s> {
    schema: &'s Value,
    example: Value,
    /// Maps in the order in which they are named.
    sections: Vec<Section<'s>>,
}

impl<'s> Page<'s> {
    /// The lines of a section, whose maps become sections behind it.
    fn rows(&mut self, section: usize) -> String {
        let path = self.sections[section].paths[0].clone();
        let schema: &'s Value = self.sections[section].schema;
        let mut rows = String::new();
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (key, property) in properties.filter(|(_, property)| property["deprecated"] != true) {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let kind = self.kind(property, &below);
            let (meaning, default) = default(schema, key, property);
            let default = match default.as_str() {
                NONE if is_map(&kind) => NO_VALUE.to_owned(),
                NONE if !kind.contains("list") => NOT_SET.to_owned(),
                _ => default,
            };
            let example = self.example(&below).unwrap_or_default();
            let row = [format!("`{key}`"), kind, default, example, meaning];
            rows += &format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
        rows
    }

    /// What a key takes. Maps among it get sections of their own.
    fn kind(&mut self, property: &'s Value, path: &str) -> String {
        if let Some(name) = known().get(property_kind(property).as_str()) {
            return (*name).to_owned();
        }
        if let Some(kinds) = property["anyOf"].as_array() {
            if let (Some(least), Some(most)) = (kinds[0].get("minimum"), kinds[0].get("maximum")) {
                return format!("{least} to {most}");
            }
            let kinds: Vec<_> = kinds.iter().filter(|kind| kind["type"] != "null").collect();
            let kinds: Vec<_> = kinds.into_iter().map(|kind| self.kind(kind, path)).collect();
            return kinds.join(" or ");
        }
        let choices = property["enum"].as_array().map(|words| words.iter().collect::<Vec<_>>());
        let choices = choices.or_else(|| {
            let consts = property["oneOf"].as_array()?.iter();
            consts.map(|one| one.get("const")).collect::<Option<Vec<_>>>()
        });
        if let Some(choices) = choices {
            let words = choices.into_iter().filter_map(Value::as_str);
            return words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        }
        if let Some(target) = property["$ref"].as_str() {
            return self.reference(target, path);
        }
        let inner = &property["additionalProperties"];
        if inner.get("anyOf").is_some() {
            return format!("{} by name", self.kind(inner, &format!("{path}.<name>")));
        }
        if let Some(inner) = inner.as_object() {
            let target = inner.get("$ref").and_then(Value::as_str).unwrap_or_default();
            return format!("{} by name", self.reference(target, &format!("{path}.<name>")));
        }
        if let Some(items) = property.get("items").filter(|items| items.get("anyOf").is_some()) {
            return format!("list of {}", self.kind(items, &format!("{path}[]")));
        }
        if let Some(inner) = property["items"].as_object() {
            let target = inner.get("$ref").and_then(Value::as_str).unwrap_or_default();
            return format!("list of {}", self.reference(target, &format!("{path}[]")));
        }
        "text".to_owned()
    }

    fn reference(&mut self, target: &str, path: &str) -> String {
        let name = target.trim_start_matches("#/$defs/");
        let Some(definition) = self.schema["$defs"].get(name) else { return "text".to_owned() };
        if definition.get("properties").is_none() {
            return self.kind(definition, path);
        }
        // `applications` is `apps` once more.
        let path = path.replacen("applications", "apps", 1);
        let known = self.sections.iter_mut().find(|other| other.schema == definition);
        let first = match known {
            Some(section) => {
                if !section.paths.contains(&path) {
                    section.paths.push(path.clone());
                }
                section.paths[0].clone()
            }
            None => {
                let (paths, rows) = (vec![path.clone()], String::new());
                self.sections.push(Section { paths, schema: definition, rows });
                path
            }
        };
        format!("[map](#{})", anchor(&first))
    }

    /// The value of `examples/full.yaml`, if it is a single one.
    fn example(&self, path: &str) -> Option<String> {
        let steps: Vec<_> = path.split('.').collect();
        let value = find(&self.example, &steps)?;
        match value {
            Value::String(text) => Some(format!("`{text}`")),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let items = items.iter().filter_map(Value::as_str);
                let items: Vec<_> = items.map(in_a_list).collect();
                Some(format!("`[{}]`", items.join(", ")))
            }
            Value::Object(_) | Value::Array(_) | Value::Null => None,
            single => Some(format!("`{single}`")),
        }
    }
}

/// A text as one writes it between brackets: in quotes where YAML would read a sign of its own.
fn in_a_list(text: &str) -> String {
    let is_plain =
        text.starts_with(char::is_alphanumeric) && !text.contains([',', '[', ']', '{', '}']);
    if is_plain { text.to_owned() } else { format!("\"{text}\"") }
}

/// The first value at a path, whose steps are `key`, `key[]` for any item and `<name>` for any key.
fn find<'v>(value: &'v Value, steps: &[&str]) -> Option<&'v Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    if *step == "<name>" {
        return value.as_object()?.values().find_map(|inner| find(inner, rest));
    }
    match step.strip_suffix("[]") {
        Some(list) => value.get(list)?.as_array()?.iter().find_map(|item| find(item, rest)),
        None => find(value.get(step)?, rest),
    }
}

/// The kinds of values that have a reader of their own, by their schema.
fn known() -> BTreeMap<String, &'static str> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let kinds = [
        (value_schema::duration(&mut generator), "duration"),
        (value_schema::duration_or_zero(&mut generator), "duration or `0s`"),
        (value_schema::percent(&mut generator), "`1%` to `100%`"),
        (value_schema::path(&mut generator), "path"),
        (value_schema::probe_expect(&mut generator), "`dify`, status, range or list of them"),
        (value_schema::fail_statuses(&mut generator), "status or list of them"),
        (value_schema::headers(&mut generator), "secrets by name"),
        (value_schema::age(&mut generator), "duration"),
        (value_schema::size(&mut generator), "size"),
        (value_schema::size_or_share(&mut generator), "size, or `1%` to `100%`"),
        (value_schema::boolean(&mut generator), "`true`, `false`"),
        (value_schema::listen(&mut generator), "address and port"),
        (value_schema::networks(&mut generator), "list of networks"),
        (value_schema::web_url(&mut generator), "`http` or `https` URL"),
        (value_schema::system(&mut generator), "`auto`, `ignore`, `prefix`, `input:…`"),
        (value_schema::secret(&mut generator), "secret"),
        (value_schema::secrets(&mut generator), "list of secrets"),
    ];
    kinds.into_iter().map(|(schema, name)| (property_kind(&schema.to_value()), name)).collect()
}

/// A property without what describes it.
fn property_kind(property: &Value) -> String {
    let mut bare = property.clone();
    if let Some(object) = bare.as_object_mut() {
        object.retain(|key, _| key != "description" && key != "default");
    }
    bare.to_string()
}

/// An empty list.
const NONE: &str = "none";

/// A value that may be left out, where that means something else than any value.
const NOT_SET: &str = "not set";

/// For a map: its keys have defaults.
const NO_VALUE: &str = "–";

fn is_map(kind: &str) -> bool {
    kind.contains("[map](") && !kind.starts_with("list of ")
}

/// What a key means, and its default as one writes it.
fn default(owner: &Value, key: &str, property: &Value) -> (String, String) {
    let required = owner["required"].as_array();
    let required = required.is_some_and(|keys| keys.iter().any(|name| name == key));
    // Either spelling of `apps` will do, so neither is required by itself.
    let is_root = owner["properties"].get("applications").is_some();
    let (meaning, told) = told_default(&words(property));
    let default = match property.get("default") {
        _ if required || (key == "apps" && is_root) => "required".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(items)) if items.is_empty() => told.unwrap_or_else(|| NONE.to_owned()),
        Some(Value::Object(_)) | None => told.unwrap_or_else(|| NONE.to_owned()),
        Some(value) => format!("`{value}`"),
    };
    (meaning, default)
}

/// A description without what it says of the default, and that.
fn told_default(words: &str) -> (String, Option<String>) {
    for (inherited, default) in
        [(", if different from the top", "the top's"), (", if different from the app", "the app's")]
    {
        if let Some(at) = words.find(inherited) {
            let meaning = format!("{}{}", &words[..at], &words[at + inherited.len()..]);
            return (meaning, Some(default.to_owned()));
        }
    }
    let starts = ["; absent: ", ". Absent: ", " Absent: ", "; absent or empty: "];
    let found = starts.iter().find_map(|start| Some((words.find(start)?, start.len())));
    let Some((at, length)) = found else { return (words.to_owned(), None) };
    let rest = &words[at + length..];
    let (default, after) = rest.split_once(". ").unwrap_or((rest.trim_end_matches('.'), ""));
    let before = words[..at].trim_end_matches('.');
    let meaning =
        if after.is_empty() { format!("{before}.") } else { format!("{before}. {after}") };
    let is_value = default.starts_with(|c: char| c.is_ascii_digit()) && !default.contains(' ');
    (meaning, Some(if is_value { format!("`{default}`") } else { default.to_owned() }))
}

fn words(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

/// How GitHub names a heading.
fn anchor(path: &str) -> String {
    path.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::{markdown, told_default};

    #[test]
    fn a_default_is_taken_out_of_the_words() {
        for (words, meaning, default) in [
            ("Points; absent: 160.", "Points.", Some("`160`")),
            ("Links. Absent: the gateway's.", "Links.", Some("the gateway's")),
            (
                "Runs; absent: `true`. With `false` none.",
                "Runs. With `false` none.",
                Some("`true`"),
            ),
            ("Method, if different from the top.", "Method.", Some("the top's")),
            ("A key.", "A key.", None),
        ] {
            let told = told_default(words);
            assert_eq!(told, (meaning.to_owned(), default.map(str::to_owned)), "{words}");
        }
    }

    #[test]
    fn every_key_has_its_default_in_its_column() {
        let page = markdown();
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let mut count = 0;
        for row in rows {
            let cells: Vec<_> = row.split(" | ").collect();
            assert!(!cells[2].trim().is_empty(), "{row}");
            assert!(!cells[4].contains("bsent:"), "{row}");
            count += 1;
        }
        assert!(count > 120, "{count}");
    }
}
