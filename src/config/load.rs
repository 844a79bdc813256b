//! From a file or a text to a configuration. The environment comes as an argument, so that nothing
//! here depends on the process.

use std::fs::{self, File};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::certificate_paths;
use super::check::check;
use super::diagnostic::{DiagnosticBuilder, DiagnosticSink, Diagnostics};
pub use super::environment::Environment;
use super::files::bounded_read::read_past;
use super::files::file_access::{KEEP, Role, Wanted, access_hint, is_open_to_all};
use super::full_width;
use super::raw::{RawConfig, RawInstance};
use super::resolve::resolve;
use super::secret::{fetch_all, reason};
use super::types::Config;
use super::unset::{Missing, Unset};
use super::yaml::{Places, Step, build, read, unset};

/// A configuration is a text for people; a larger file is something else.
pub(super) const LARGEST: usize = 16 << 20;

/// A good configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not as it was meant; often empty.
    pub warnings: Diagnostics,
    /// What is good to know of it beside that: what an earlier version did otherwise with it, and how well its
    /// secrets are kept. Told by a check and at a start.
    pub changes: Diagnostics,
    /// What is to be said once, at the start.
    pub notes: Vec<String>,
    /// What is not there; nothing unless the environment allows that.
    pub unset: Unset,
    /// Whether secrets stand in the text itself.
    pub(super) holds_secrets: bool,
}

/// Reads and checks a configuration file. Files of secrets are read too; nothing else is touched.
///
/// # Errors
/// Every error at once, with the warnings among them.
pub fn load(path: &Path, env: &Environment) -> Result<Loaded, Diagnostics> {
    let name = path.display().to_string();
    let refuse = |draft: DiagnosticBuilder| {
        let mut sink = DiagnosticSink::default();
        sink.add(draft);
        Err(Diagnostics::new(&name, "", sink))
    };
    let bytes = match File::open(path).and_then(|file| read_past(file, LARGEST)) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(unreadable(path, &error, env.role)),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        let message = "the configuration is not UTF-8 text";
        return refuse(DiagnosticBuilder::placeless(message).hint("save it as UTF-8"));
    };
    if is_lua(path, &text) {
        let message = "this is Lua, as an OpenResty balancer has it";
        let command =
            format!("`difygate import {name} -o difygate.yaml` makes a configuration of it");
        return refuse(DiagnosticBuilder::placeless(message).hint(command));
    }
    let mut env = env.clone();
    if env.base.as_os_str().is_empty() {
        env.base = path.parent().unwrap_or(Path::new("")).to_owned();
    }
    let mut loaded = parse(&name, &text, &env)?;
    if loaded.holds_secrets && is_open(path) {
        let message = format!("there are secrets in this file, and everybody can read it: {KEEP}");
        loaded.changes.warn(&message, "a secret may also stand in a file of its own (`file:`)");
    }
    Ok(loaded)
}

/// Whether a file is a balancer's of before. No YAML begins so.
fn is_lua(path: &Path, text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("--"));
    let begins = |word| first.is_some_and(|line| line.starts_with(word));
    path.extension().is_some_and(|end| end == "lua") || begins("return {") || begins("local ")
}

/// Whether everybody on the machine may read a file, and this process could without that, too: where it
/// could not, as in a container, the file is to be so.
fn is_open(path: &Path) -> bool {
    let Ok(meta) = fs::metadata(path) else { return false };
    let user = rustix::process::geteuid();
    let is_own = user.is_root() || user.as_raw() == meta.uid();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let is_of_group = [rustix::process::getegid()]
        .iter()
        .chain(&groups)
        .any(|group| group.as_raw() == meta.gid() && meta.mode() & 0o040 != 0);
    meta.is_file() && is_open_to_all(path) && (is_own || is_of_group)
}

/// What is said of a configuration that cannot be read.
pub(super) fn unreadable(path: &Path, error: &Error, role: Role) -> DiagnosticBuilder {
    let message = format!("the configuration cannot be read: {}", reason(error));
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => {
            "run this as the user that the file belongs to, or let its group read it: `chmod g+r`"
        }
        ErrorKind::NotFound => "name an existing file, or let `difygate init` write one",
        _ => "name a file",
    };
    let hint = access_hint(path, Wanted::Read, role).unwrap_or_else(|| hint.to_owned());
    DiagnosticBuilder::placeless(message).hint(hint)
}

/// Checks a configuration that has been read already. `name` is what findings call it, such as
/// `gateway.yaml`.
///
/// # Errors
/// Every error at once, with the warnings among them.
pub fn parse(name: &str, text: &str, env: &Environment) -> Result<Loaded, Diagnostics> {
    let mut sink = DiagnosticSink::default();
    let raw = examine(text, env, &mut sink);
    full_width::find(text, &mut sink);
    let holds_secrets = raw.as_ref().is_some_and(|raw| raw.holds_secrets);
    let config = raw.and_then(|raw| if sink.has_errors() { None } else { resolve(raw) });
    match config {
        Some(config) => {
            let changes = Diagnostics::new(name, text, sink.take_changes());
            let unset = sink.unset_names();
            let warnings = Diagnostics::new(name, text, sink);
            Ok(Loaded { config, warnings, changes, notes: Vec::new(), unset, holds_secrets })
        }
        None => {
            if !sink.has_errors() {
                sink.add(DiagnosticBuilder::placeless("the configuration cannot be used"));
            }
            Err(Diagnostics::new(name, text, sink))
        }
    }
}

/// Reads and checks, and notes whatever is wrong on the way.
fn examine(text: &str, env: &Environment, sink: &mut DiagnosticSink) -> Option<RawConfig> {
    if text.len() > LARGEST {
        sink.add(DiagnosticBuilder::placeless("the configuration is larger than 16MiB"));
        return None;
    }
    let tree = build(text, env, sink)?;
    let (raw, dropped) = read::<RawConfig>(&tree, sink);
    let mut raw = raw?;
    let places = Places::new(&tree, dropped);
    if !places.has(&[Step::Key("listen")]) {
        listen_by_default(&mut raw, env, sink);
    }
    fetch_all(&mut raw, &places, env, sink);
    if env.missing == Missing::Secrets {
        sink.take_plain_unset().into_iter().for_each(|(span, name)| sink.add(unset(&name, span)));
    }
    certificate_paths::settle(&mut raw, &env.base);
    check(&raw, &places, sink);
    certificate_paths::settle_folders(&mut raw, &env.base);
    if env.missing == Missing::Allowed {
        raw.apps.values_mut().flat_map(|app| &mut app.instances).for_each(RawInstance::stand_in);
        raw.services.stand_in();
    }
    Some(raw)
}

/// Where a file that has no `listen` is served, if not on this machine alone. In a container that
/// would be nowhere, and its image sets this.
pub(super) const LISTEN: &str = "DIFYGATE_LISTEN";

fn listen_by_default(raw: &mut RawConfig, env: &Environment, sink: &mut DiagnosticSink) {
    let Some(text) = env.vars.get(LISTEN).filter(|text| !text.is_empty()) else { return };
    match text.parse::<SocketAddr>() {
        Ok(address) => raw.listen = address.into(),
        Err(_) => sink.add(
            DiagnosticBuilder::placeless(format!("`{LISTEN}` must be an IP address with a port"))
                .hint("write `0.0.0.0:8080` for all networks of this machine, or add `listen`"),
        ),
    }
}
