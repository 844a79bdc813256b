//! What a configuration may refer to outside its own text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::files::file_access::Role;
use super::unset::Missing;

/// What a configuration may refer to outside its own text.
#[derive(Clone, Default)]
pub struct Environment {
    /// What `${NAME}` stands for.
    pub vars: BTreeMap<String, String>,
    /// Where relative `file:` paths start. If it is empty, [`load`](super::load()) takes the configuration's own
    /// folder, and [`parse`](super::parse) the working directory.
    pub base: PathBuf,
    /// What becomes of variables and of files of secrets that are not there.
    pub missing: Missing,
    /// Who reads it: hints for the gateway give it files, those for a command do not.
    pub role: Role,
}

impl fmt::Debug for Environment {
    /// The names alone: the values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.vars.keys().collect();
        f.debug_struct("Environment").field("names", &names).field("base", &self.base).finish()
    }
}
