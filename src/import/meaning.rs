//! Finds the apps in what a Lua text built, and writes them as YAML.

use std::fmt::Write;

use super::lua::Module;
use super::names::Names;
use super::places::{mark, take_out};
use super::probe::probe;
use super::remark::{Imported, Remark, whole};
use super::value::{Field, Kind, Table, Value};
use super::writer::{Writer, Written, flow, plain};

/// Who asks `/status` and `/reload-config` today. The scripts of an OpenResty balancer do so without a
/// token, on the port of its clients.
const LISTENERS: &str = "\
listen: 0.0.0.0:82    # as before; outside a container it takes root or CAP_NET_BIND_SERVICE
admin:
  # Who may ask for /status, /metrics and /reload-config without a token, on `listen` too: this machine
  # and Docker's networks. Behind a port that Docker publishes, all hosts may look like one of those:
  # where strangers reach that port, take 172.16.0.0/12 out and set a `token`.
  allow: [127.0.0.0/8, \"::1\", 172.16.0.0/12]
# Without these lines the logs are on standard output and standard error, where Docker keeps them.
# access_log: { path: /var/log/difygate/access.log, format: combined }
# error_log: { path: /var/log/difygate/error.log }
";

/// What a balancing method is called in configurations of balancers.
const METHODS: [(&str, &[&str]); 5] = [
    ("consistent_hash", &["consistent_hash", "consistent_hashing", "chash", "hash"]),
    (
        "weighted_round_robin",
        &["weighted_round_robin", "round_robin", "roundrobin", "rr", "wrr", "swrr"],
    ),
    ("least_connections", &["least_connections", "least_connection", "least_conn", "leastconn"]),
    ("ip_hash", &["ip_hash", "iphash"]),
    ("rendezvous", &["rendezvous"]),
];

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
    writer.remarks.extend(module.passed_over.iter().cloned());
    if !writer.faults.is_empty() {
        return Err(writer.faults);
    }
    let mut yaml = format!(
        "# Made of {name} by `difygate import`. It holds the secrets of that file.\n\
         # A Dify API container serves 10 connections at a time, unless its SERVER_WORKER_CONNECTIONS\n\
         # says more: then give the instance the same number as `max_concurrent`.\n"
    );
    for Remark { line, message, .. } in &writer.remarks {
        // Only what this room wrote itself and names of keys; no line break is among them.
        writeln!(yaml, "# line {line}: {message}").unwrap_or_default();
    }
    yaml.push_str(LISTENERS);
    yaml.push_str(&writer.out);
    let (yaml, places) = take_out(&yaml);
    let Writer { remarks: ignored, variables, .. } = writer;
    Ok(Imported { yaml, ignored, variables, places })
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

/// A name, and behind it as a comment the one that could not stay.
struct Named {
    name: String,
    comment: String,
}

impl Writer {
    fn root(&mut self, root: Option<&Value>) {
        let Some(table) = root.and_then(Value::table) else { return };
        for field in &table.borrow().fields {
            match (field.key.as_str(), &field.value.kind) {
                ("applications" | "apps", _) | (_, Kind::Unknown("a function")) => {}
                // A module's own, such as its version.
                (key, _) if key.starts_with('_') => {}
                _ => match self.shared(field) {
                    Some(line) => writeln!(self.out, "{line}").unwrap_or_default(),
                    None => self.ignore(field),
                },
            }
        }
    }

    /// What stands at the top or in an app; none for what has no counterpart.
    fn shared(&mut self, field: &Field) -> Option<String> {
        let value = match (field.key.as_str(), &field.value.kind) {
            ("consistent_hash", Kind::Table(hash)) => {
                format!("consistent_hash: {}", self.hash(&hash.borrow()))
            }
            ("health_check" | "health_checks" | "healthcheck", Kind::Table(table)) => {
                format!("probe: {}", probe(self, &table.borrow()))
            }
            ("method" | "algorithm", _) => format!("method: {}", self.method(field)),
            _ => return None,
        };
        Some(format!("{}{value}", mark(field.at)))
    }

    fn method(&mut self, field: &Field) -> &'static str {
        let written = field.value.plain().unwrap_or_default().to_lowercase().replace('-', "_");
        let known = METHODS.iter().find(|(_, names)| names.contains(&written.as_str()));
        if known.is_none() {
            self.fault(
                field.value.at,
                "this balancing method is not known",
                "write `consistent_hash`, `round_robin`, `least_conn` or `ip_hash`",
            );
        }
        known.map_or("", |(method, _)| method)
    }

    fn hash(&mut self, table: &Table) -> String {
        let mut pairs = Vec::new();
        for field in &table.fields {
            match field.key.as_str() {
                key @ "virtual_nodes" => pairs.extend(self.pair(key, field, Written::Whole)),
                "hash_algorithm" => match field.value.plain() {
                    Some(name) => {
                        let (at, name) = (mark(field.value.at), plain(&name.to_lowercase()));
                        pairs.push(format!("hash_algorithm: {at}{name}"));
                    }
                    None => self.unreadable(&field.key, &field.value),
                },
                _ => self.ignore(field),
            }
        }
        flow(&pairs)
    }

    fn apps(&mut self, apps: &Value) {
        let Some(table) = apps.table() else {
            return self.unreadable("applications", apps);
        };
        let table = table.borrow();
        writeln!(self.out, "{}apps:", mark(apps.at)).unwrap_or_default();
        for item in &table.list {
            self.fault(item.at, "an application without a name", "write `[\"name\"] = { … }`");
        }
        if table.fields.is_empty() {
            self.fault(apps.at, "there are no applications", "write `[\"name\"] = { … }`");
        }
        let mut names = Names::new(table.fields.iter().map(|field| field.key.as_str()));
        for (place, field) in (1..).zip(&table.fields) {
            let Some(app) = field.value.table() else {
                self.unreadable(&field.key, &field.value);
                continue;
            };
            if self.is_full(field.at) {
                return;
            }
            let Named { name, comment } = self.named(&mut names, field, "app", place);
            let at = mark(field.at);
            writeln!(self.out, "  {at}{}:{comment}", plain(&name)).unwrap_or_default();
            self.app(&app.borrow());
        }
    }

    /// The name that a key gives, or one in its place.
    fn named(&mut self, names: &mut Names, field: &Field, stem: &str, place: usize) -> Named {
        match names.instead_of(&field.key, stem, place) {
            None => Named { name: field.key.clone(), comment: String::new() },
            Some(name) => {
                let message = format!("this name became `{name}`");
                let hint = "a name is 1 to 64 of A-Z a-z 0-9 . _ -; the old one is a comment";
                self.remark(field.at, message, hint);
                Named { name, comment: format!("    # {}", field.key.escape_debug()) }
            }
        }
    }

    fn app(&mut self, app: &Table) {
        for field in &app.fields {
            let Field { key, value, at } = field;
            let at = mark(*at);
            match (key.as_str(), &value.kind) {
                ("user_tokens", Kind::Table(tokens)) => {
                    let tokens = tokens.borrow();
                    let token = |token: &Value| {
                        Some(format!("{}{}", mark(token.at), self.text(key, token)?))
                    };
                    let tokens: Vec<_> = tokens.list.iter().filter_map(token).collect();
                    writeln!(self.out, "    {at}user_tokens: [{}]", tokens.join(", "))
                        .unwrap_or_default();
                }
                ("user_tokens" | "user_token", _) => {
                    if let Some(token) = self.text(key, value) {
                        let place = mark(value.at);
                        writeln!(self.out, "    {at}user_tokens: [{place}{token}]")
                            .unwrap_or_default();
                    }
                }
                ("instances", Kind::Table(instances)) => {
                    writeln!(self.out, "    {at}instances:").unwrap_or_default();
                    self.instances(&instances.borrow());
                }
                ("instances", _) => self.unreadable(key, value),
                _ => match self.shared(field) {
                    Some(line) => writeln!(self.out, "    {line}").unwrap_or_default(),
                    None => self.ignore(field),
                },
            }
        }
    }

    /// A list, or a table by name.
    fn instances(&mut self, instances: &Table) {
        let fields = instances.fields.iter();
        let listed = instances.list.iter().map(|value| named_by_itself(None, value));
        let all: Vec<_> =
            listed.chain(fields.map(|field| named_by_itself(Some(field), &field.value))).collect();
        let given = all.iter().filter_map(|(name, _)| Some(name.as_ref()?.key.as_str()));
        let mut names = Names::new(given);
        for (place, (name, value)) in (1..).zip(&all) {
            let Some(table) = value.table() else {
                self.unreadable("instances", value);
                continue;
            };
            if self.is_full(value.at) {
                return;
            }
            let (mut pairs, mut comment) = (Vec::new(), String::new());
            if let Some(field) = name {
                let named = self.named(&mut names, field, "dify", place);
                comment = named.comment;
                let (key, value) = (mark(field.at), mark(field.value.at));
                pairs.push(format!("{key}name: {value}{}", plain(&named.name)));
            }
            for field in
                table.borrow().fields.iter().filter(|field| field.key != "name" || name.is_none())
            {
                pairs.extend(self.instance_pair(field));
            }
            writeln!(self.out, "      - {}{}{comment}", mark(value.at), flow(&pairs))
                .unwrap_or_default();
        }
    }

    fn instance_pair(&mut self, field: &Field) -> Option<String> {
        let written = match field.key.as_str() {
            "name" | "host" | "url" | "token" => Written::Text,
            "port" | "weight" | "max_fails" | "max_concurrent" => Written::Whole,
            "fail_timeout" => Written::Seconds,
            "health_check" if field.value.table().is_some() => return self.shared(field),
            _ => {
                self.ignore(field);
                return None;
            }
        };
        self.pair(&field.key, field, written)
    }
}

/// An instance's name where it is a text that is known, as the key of a field; its own `name` before the
/// key that it stands under.
fn named_by_itself(key: Option<&Field>, value: &Value) -> (Option<Field>, Value) {
    let own = value.table().and_then(|table| {
        let table = table.borrow();
        let field = table.fields.iter().find(|field| field.key == "name")?;
        Some(match field.value.plain() {
            Some(name) => Ok(Field { key: name, ..field.clone() }),
            None => Err(()),
        })
    });
    let name = match own {
        Some(own) => own.ok(),
        None => key.cloned(),
    };
    (name, value.clone())
}
