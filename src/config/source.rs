//! Where a configuration comes from: a file, or the environment alone, as OpenDify has it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::diagnostic::{DiagnosticBuilder, DiagnosticSink, Diagnostics};
use super::files::bounded_read::read_file;
use super::files::env_file;
use super::files::file_access::is_open_to_all;
use super::load::{Environment, Loaded, load};
use super::opendify::{self, variables};
use super::secret::reason;

/// The variable that names the file where the command line does not.
const VARIABLE: &str = "DIFYGATE_CONFIG";

/// The file that is taken where none is named.
const DEFAULT: &str = "difygate.yaml";

/// The file that is taken where there is neither that one nor anything of OpenDify's.
const SYSTEM: &str = "/etc/difygate/difygate.yaml";

/// The file of variables that is taken where none is named.
const ENV_FILE: &str = ".env";

/// Where a configuration comes from, to be read once more at each reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A YAML file.
    File(PathBuf),
    /// A YAML file whose `${NAME}` a file of variables fills, too.
    Filled {
        /// The YAML file.
        path: PathBuf,
        /// The file of variables; what the process has itself counts before it.
        variables: PathBuf,
    },
    /// The variables of OpenDify, some of them perhaps in a file.
    Environment {
        /// The file; what the process has itself counts before it.
        file: Option<PathBuf>,
    },
}

impl Source {
    /// The file that is named, filled by the file of variables that is, or the latter alone. Where neither
    /// is: the file that `DIFYGATE_CONFIG` names, `difygate.yaml` if it is there, the variables of OpenDify if
    /// one is set, be it in `.env`, `/etc/difygate/difygate.yaml` if that is there, and else `difygate.yaml`.
    pub fn choose(config: Option<PathBuf>, env_file: Option<PathBuf>, env: &Environment) -> Self {
        let config = config.or_else(|| named_by(env));
        match (config, env_file) {
            (Some(path), None) => return Self::File(path),
            (Some(path), Some(variables)) => return Self::Filled { path, variables },
            (None, Some(file)) => return Self::Environment { file: Some(file) },
            (None, None) => {}
        }
        let default = PathBuf::from(DEFAULT);
        let beside = Path::new(ENV_FILE);
        let text = read_file(beside, LARGEST_ENV_FILE).ok();
        let text = text.and_then(|text| String::from_utf8(text).ok());
        let vars = text.as_deref().map(|text| env_file::parse(text).vars).unwrap_or_default();
        let is_set = |name: &&str| env.vars.contains_key(*name) || vars.contains_key(*name);
        if default.exists() {
            return Self::File(default);
        }
        if variables::NEEDED.iter().any(is_set) {
            return Self::Environment { file: text.map(|_| beside.to_owned()) };
        }
        let system = PathBuf::from(SYSTEM);
        Self::File(if system.exists() { system } else { default })
    }

    /// Whether the environment names a file.
    pub fn is_named_by(env: &Environment) -> bool {
        named_by(env).is_some()
    }

    /// Reads and checks it, files of secrets included.
    ///
    /// # Errors
    /// Every error at once, with the warnings among them.
    pub fn load(&self, env: &Environment) -> Result<Loaded, Diagnostics> {
        match self {
            Self::File(path) => load(path, env),
            Self::Filled { path, variables: file } => {
                let mut sink = DiagnosticSink::default();
                let vars = variables(Some(file), env, &mut sink);
                let is_faulty = sink.has_errors();
                let of_file = Diagnostics::new(&file.display().to_string(), "", sink);
                if is_faulty {
                    return Err(of_file);
                }
                let env = Environment { vars, ..env.clone() };
                let mut loaded =
                    load(path, &env).map_err(|findings| findings.and(of_file.clone()))?;
                loaded.warnings = loaded.warnings.and(of_file);
                loaded.config.watched_files.push(file.clone());
                Ok(loaded)
            }
            Self::Environment { file } => {
                let mut sink = DiagnosticSink::default();
                let vars = variables(file.as_deref(), env, &mut sink);
                opendify::load(&self.to_string(), file.as_deref(), vars, sink)
            }
        }
    }

    /// The environment with the variables of its file; faults of that are the gateway's to say.
    pub fn environment(&self, env: &Environment) -> Environment {
        let file = match self {
            Self::File(_) => None,
            Self::Filled { variables, .. } => Some(variables.as_path()),
            Self::Environment { file } => file.as_deref(),
        };
        let vars = variables(file, env, &mut DiagnosticSink::default());
        Environment { vars, ..env.clone() }
    }

    /// What says a key's value here, for a message: the key, or a variable.
    pub fn says(&self, key: &str) -> String {
        let variable = match self {
            Self::Environment { .. } => variables::of_key(key),
            Self::File(_) | Self::Filled { .. } => None,
        };
        variable.map_or_else(|| format!("`{key}`"), str::to_owned)
    }

    /// The file that it is in, if any.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Filled { path, .. } => Some(path),
            Self::Environment { file } => file.as_deref(),
        }
    }
}

fn named_by(env: &Environment) -> Option<PathBuf> {
    env.vars.get(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from)
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Filled { path, .. } => path.display().fmt(f),
            Self::Environment { file: None } => f.write_str("the environment"),
            Self::Environment { file: Some(path) } => {
                write!(f, "the environment with {}", path.display())
            }
        }
    }
}

/// A file of variables for people is smaller, in bytes.
const LARGEST_ENV_FILE: usize = 1 << 20;

/// The variables of the process, and of the file those that the process has not.
pub(super) fn variables(
    file: Option<&Path>,
    env: &Environment,
    sink: &mut DiagnosticSink,
) -> BTreeMap<String, String> {
    let mut vars = env.vars.clone();
    let Some(path) = file else { return vars };
    let text = match read_file(path, LARGEST_ENV_FILE).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            sink.add(DiagnosticBuilder::placeless("the env file is not UTF-8 text"));
            return vars;
        }
        Err(error) => {
            let message = format!("the env file cannot be read: {}", reason(&error));
            sink.add(
                DiagnosticBuilder::placeless(message)
                    .hint("name an existing file, or create this one"),
            );
            return vars;
        }
    };
    if is_open_to_all(path) {
        let message =
            format!("{} holds keys, and other users of this machine may read it", path.display());
        let hint = format!("`chmod 600 {}`", path.display());
        sink.add(DiagnosticBuilder::placeless(message).into_warning().hint(hint));
    }
    let parsed = env_file::parse(&text);
    for line in parsed.faults {
        let message = format!("line {line} of the env file is not valid");
        let hint = env_file::hint(text.lines().nth(line - 1).unwrap_or_default());
        sink.add(DiagnosticBuilder::placeless(message).hint(hint));
    }
    for (name, value) in parsed.vars {
        vars.entry(name).or_insert(value);
    }
    vars
}
