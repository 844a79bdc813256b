//! Finds the apps in what a Lua text built, and writes them as YAML.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::lua::Module;
use super::remark::{Imported, Remark, whole};
use super::value::{Field, Kind, Part, Spot, Table, Value};

/// Keys of an instance that hold a whole number or a text of one.
const NUMBERS: [&str; 5] = ["port", "weight", "max_fails", "max_concurrent", "virtual_nodes"];

/// Writes a module's configuration.
pub(super) fn write(name: &str, module: &Module) -> Result<Imported, Vec<Remark>> {
    let (root, apps) = configuration(module).ok_or_else(|| {
        let hint = "difygate looks for a table `applications` in what the file returns, and in its \
                    variables";
        vec![whole("there are no applications in this file", hint)]
    })?;
    let mut writer = Writer::default();
    writer.root(root.as_ref());
    writer.apps(&apps);
    for remark in &module.passed_over {
        writer.ignored.push(remark.clone());
    }
    if !writer.faults.is_empty() {
        return Err(writer.faults);
    }
    let mut yaml = format!(
        "# Made of {name} by `difygate import`. It holds the secrets of that file.\n\
         # A Dify API container serves 10 connections at a time, unless its SERVER_WORKER_CONNECTIONS\n\
         # says more: then give the instance the same number as `max_concurrent`.\n"
    );
    for Remark { line, message, .. } in &writer.ignored {
        // Only what this room wrote itself and the names of keys; no line break is among them.
        writeln!(yaml, "# line {line}: {message}").unwrap_or_default();
    }
    yaml.push_str("# listen: 0.0.0.0:8080    # without it, this machine alone\n");
    yaml.push_str(&writer.out);
    Ok(Imported { yaml, ignored: writer.ignored, variables: writer.variables })
}

/// The table around the applications, if there is one, and the applications.
fn configuration(module: &Module) -> Option<(Option<Value>, Value)> {
    let of = |root: &Value| {
        let table = root.table()?.borrow();
        let apps = table.get("applications").or_else(|| table.get("apps"))?;
        Some((Some(root.clone()), apps))
    };
    let within = |root: &Value| of(root).or_else(|| of(&root.table()?.borrow().get("config")?));
    let mut names: Vec<_> = module.variables.keys().collect();
    names.sort_unstable();
    let named = |name: &str| module.variables.get(name).map(|value| (None, value.clone()));
    module
        .returned
        .as_ref()
        .and_then(within)
        .or_else(|| names.into_iter().find_map(|name| within(&module.variables[name])))
        .or_else(|| named("applications"))
        .or_else(|| named("apps"))
}

#[derive(Default)]
struct Writer {
    out: String,
    faults: Vec<Remark>,
    ignored: Vec<Remark>,
    variables: BTreeSet<String>,
}

impl Writer {
    fn fault(&mut self, at: Spot, message: impl Into<String>, hint: &'static str) {
        let message = message.into();
        self.faults.push(Remark { line: at.0, column: at.1, message, hint: Some(hint) });
    }

    fn ignore(&mut self, field: &Field) {
        let key = shown(&field.key);
        let hint = match field.key.as_str() {
            "health_check" | "health_checks" => "difygate probes instances that are out by itself",
            _ => "`difygate schema` lists the keys that there are",
        };
        let message = format!("{key} has no counterpart and was left out");
        let (line, column) = field.at;
        self.ignored.push(Remark { line, column, message, hint: Some(hint) });
    }

    fn root(&mut self, root: Option<&Value>) {
        let Some(table) = root.and_then(Value::table) else { return };
        for field in &table.borrow().fields {
            match (field.key.as_str(), &field.value.kind) {
                ("applications" | "apps", _) | (_, Kind::Unknown("a function")) => {}
                ("consistent_hash", Kind::Table(hash)) => {
                    self.out.push_str("consistent_hash: ");
                    self.hash(&hash.borrow());
                    self.out.push('\n');
                }
                _ => self.ignore(field),
            }
        }
    }

    fn hash(&mut self, table: &Table) {
        let mut pairs = Vec::new();
        for field in &table.fields {
            match field.key.as_str() {
                "virtual_nodes" => pairs.extend(self.pair(field)),
                "hash_algorithm" => match field.value.plain() {
                    Some(name) => {
                        pairs.push(format!("hash_algorithm: {}", plain(&name.to_lowercase())));
                    }
                    None => self.unreadable(&field.key, &field.value),
                },
                _ => self.ignore(field),
            }
        }
        self.out.push_str(&flow(&pairs));
    }

    fn apps(&mut self, apps: &Value) {
        let Some(table) = apps.table() else {
            return self.unreadable("applications", apps);
        };
        self.out.push_str("apps:\n");
        for item in &table.borrow().list {
            self.fault(item.at, "an application without a name", "write `[\"name\"] = { … }`");
        }
        if table.borrow().fields.is_empty() {
            self.fault(apps.at, "there are no applications", "write `[\"name\"] = { … }`");
        }
        for Field { key, value, .. } in &table.borrow().fields {
            let Some(app) = value.table() else {
                self.unreadable(key, value);
                continue;
            };
            writeln!(self.out, "  {}:", plain(key)).unwrap_or_default();
            self.app(&app.borrow());
        }
    }

    fn app(&mut self, app: &Table) {
        for field in &app.fields {
            let Field { key, value, .. } = field;
            match (key.as_str(), &value.kind) {
                ("user_tokens", Kind::Table(tokens)) => {
                    let tokens: Vec<_> =
                        tokens.borrow().list.iter().filter_map(|t| self.text(key, t)).collect();
                    writeln!(self.out, "    user_tokens: [{}]", tokens.join(", "))
                        .unwrap_or_default();
                }
                ("user_tokens" | "user_token", _) => {
                    if let Some(token) = self.text(key, value) {
                        writeln!(self.out, "    user_tokens: [{token}]").unwrap_or_default();
                    }
                }
                ("consistent_hash", Kind::Table(hash)) => {
                    self.out.push_str("    consistent_hash: ");
                    self.hash(&hash.borrow());
                    self.out.push('\n');
                }
                ("instances", Kind::Table(instances)) => {
                    self.out.push_str("    instances:\n");
                    self.instances(&instances.borrow());
                }
                ("instances", _) => self.unreadable(key, value),
                _ => self.ignore(field),
            }
        }
    }

    /// A list, or a table by name.
    fn instances(&mut self, instances: &Table) {
        let named = instances.fields.iter().map(|field| (Some(&field.key), &field.value));
        for (name, value) in instances.list.iter().map(|value| (None, value)).chain(named) {
            let Some(table) = value.table() else {
                self.unreadable("instances", value);
                continue;
            };
            let table = table.borrow();
            let mut pairs = Vec::new();
            if let Some(name) = name.filter(|_| table.get("name").is_none()) {
                pairs.push(format!("name: {}", plain(name)));
            }
            for field in &table.fields {
                pairs.extend(self.pair(field));
            }
            writeln!(self.out, "      - {}", flow(&pairs)).unwrap_or_default();
        }
    }

    fn pair(&mut self, field: &Field) -> Option<String> {
        let Field { key, value, .. } = field;
        let text = match key.as_str() {
            "name" | "host" | "url" | "token" => self.text(key, value),
            key if NUMBERS.contains(&key) => self.number(key, value),
            "fail_timeout" => match value.kind {
                Kind::Number(seconds) if seconds.fract() != 0.0 => {
                    Some(format!("{:.0}ms", seconds * 1000.0))
                }
                Kind::Number(seconds) => Some(format!("{seconds}s")),
                _ => self.text(key, value),
            },
            _ => {
                self.ignore(field);
                return None;
            }
        }?;
        Some(format!("{key}: {text}"))
    }

    fn number(&mut self, key: &str, value: &Value) -> Option<String> {
        match value.kind {
            Kind::Number(number) if number.fract() == 0.0 => Some(number.to_string()),
            Kind::Number(_) => {
                let message = format!("`{key}` is not a whole number");
                self.fault(value.at, message, "write a whole number; only their relation counts");
                None
            }
            _ => self.text(key, value),
        }
    }

    /// A text for YAML: its own `${` are kept from being taken for references.
    fn text(&mut self, key: &str, value: &Value) -> Option<String> {
        if let Kind::Number(number) = value.kind {
            return Some(quoted(&number.to_string()));
        }
        let Kind::Text(parts) = &value.kind else {
            self.unreadable(key, value);
            return None;
        };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Literal(literal) => text.push_str(&literal.replace("${", "$${")),
                Part::Variable(..) if text.ends_with('$') => {
                    self.fault(
                        value.at,
                        format!("`{key}` has a `$` before a variable"),
                        "write it out",
                    );
                }
                Part::Variable(name, None) => {
                    self.variables.insert(name.clone());
                    text.push_str(&format!("${{{name}}}"));
                }
                Part::Variable(name, Some(default)) => {
                    text.push_str(&format!("${{{name}:-{default}}}"));
                }
            }
        }
        let plain_name = key == "name" || key == "fail_timeout";
        Some(if plain_name { plain(&text) } else { quoted(&text) })
    }

    fn unreadable(&mut self, key: &str, value: &Value) {
        let key = shown(key);
        let (what, hint) = match &value.kind {
            Kind::Unknown(what) => (
                *what,
                "nothing is run: write the value itself, or \
                                            `os.getenv(\"NAME\")`, in its place",
            ),
            Kind::Nil => ("nil", "write a value"),
            Kind::Bool(_) => ("true or false", "write a value of the right kind"),
            Kind::Number(_) | Kind::Text(_) => ("a single value", "write a table, `{ … }`"),
            Kind::Table(_) => ("a table", "write a single value"),
        };
        self.fault(value.at, format!("the value of {key} cannot be used: it is {what}"), hint);
    }
}

/// A key as it may be shown: what does not look like a name may be a misplaced secret.
fn shown(key: &str) -> String {
    let named = key.len() <= 40 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if named { format!("`{key}`") } else { "a key".to_owned() }
}

fn flow(pairs: &[String]) -> String {
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

/// A text without quotes where YAML reads it as text whatever its version.
fn plain(text: &str) -> String {
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let simple = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let word = words.contains(&text.to_ascii_lowercase().as_str());
    if first && simple && !word { text.to_owned() } else { quoted(text) }
}

/// A JSON text is a YAML text in double quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
