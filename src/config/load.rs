//! From a file or a text to a configuration. The environment comes as an argument, so that nothing
//! here depends on the process.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::certificate_paths;
use super::check::check;
use super::diagnostic::{DiagnosticBuilder, DiagnosticSink, Diagnostics};
pub use super::environment::Environment;
use super::raw::{RawConfig, RawInstance};
use super::resolve::resolve;
use super::secret::{fetch_all, reason};
use super::types::Config;
use super::unset::{Missing, Unset};
use super::yaml::{Places, build, read, unset};

/// A configuration is a text for people; a larger file is something else.
const LARGEST: usize = 16 << 20;

/// A good configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not as it was meant; often empty.
    pub warnings: Diagnostics,
    /// What an earlier version did otherwise with it.
    pub changes: Diagnostics,
    /// What is not there; nothing unless the environment allows that.
    pub unset: Unset,
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
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(unreadable(&error)),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        let message = "the configuration is not UTF-8 text";
        return refuse(DiagnosticBuilder::placeless(message).hint("save it as UTF-8"));
    };
    if env.base.as_os_str().is_empty() {
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        let env = Environment { base, ..env.clone() };
        return parse(&name, &text, &env);
    }
    parse(&name, &text, env)
}

/// What is said of a configuration that cannot be read.
pub(super) fn unreadable(error: &Error) -> DiagnosticBuilder {
    let message = format!("the configuration cannot be read: {}", reason(error));
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => {
            "run this as the user that the file belongs to, or let its group read it: `chmod g+r`"
        }
        ErrorKind::NotFound => "name an existing file, or let `difygate init` write one",
        _ => "name a file",
    };
    DiagnosticBuilder::placeless(message).hint(hint)
}

/// Checks a configuration that has been read already. `name` is what findings call it, such as
/// `gateway.yaml`.
///
/// # Errors
/// Every error at once, with the warnings among them.
pub fn parse(name: &str, text: &str, env: &Environment) -> Result<Loaded, Diagnostics> {
    let mut sink = DiagnosticSink::default();
    let config = examine(text, env, &mut sink)
        .and_then(|raw| if sink.has_errors() { None } else { resolve(raw) });
    match config {
        Some(config) => {
            let changes = Diagnostics::new(name, text, sink.take_changes());
            let unset = sink.unset_names();
            Ok(Loaded { config, warnings: Diagnostics::new(name, text, sink), changes, unset })
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
    fetch_all(&mut raw, &places, env, sink);
    if env.missing == Missing::Secrets {
        sink.take_plain_unset().into_iter().for_each(|(span, name)| sink.add(unset(&name, span)));
    }
    certificate_paths::settle(&mut raw, &env.base);
    check(&raw, &places, sink);
    if env.missing == Missing::Allowed {
        raw.apps.values_mut().flat_map(|app| &mut app.instances).for_each(RawInstance::stand_in);
    }
    Some(raw)
}
