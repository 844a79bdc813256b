//! Which configuration a command is about.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::cli::environment::environment;
use crate::config::Source;

/// The configuration that the command line names, in the same two ways for every command.
#[derive(Debug, Args)]
pub(super) struct ConfigOption {
    /// The configuration file [default: $DIFYGATE_CONFIG, difygate.yaml, the variables of OpenDify if they
    /// are set, /etc/difygate/difygate.yaml: the first that is there]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    named: Option<PathBuf>,
    /// The same
    #[arg(short = 'c', long = "config", value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with = "named")]
    file: Option<PathBuf>,
    #[command(flatten)]
    variables: Variables,
}

#[derive(Debug, Args)]
struct Variables {
    /// Read variables from this file, too: those of `${NAME}` in the configuration file, or without one
    /// OpenDify's, such as MODEL_CONFIG and DIFY_API_BASE [default: .env, without a configuration file]
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

impl Variables {
    fn or(&self, file: &Option<PathBuf>) -> Source {
        Source::choose(file.clone(), self.env_file.clone(), &environment())
    }
}

impl ConfigOption {
    /// Where the configuration comes from.
    pub(super) fn source(&self) -> Source {
        self.variables.or(&self.file.clone().or_else(|| self.named.clone()))
    }

    /// Whether somebody has named it, here or in the environment.
    pub(super) fn is_named(&self) -> bool {
        let here = self.file.is_some() || self.named.is_some() || self.variables.env_file.is_some();
        here || Source::is_named_by(&environment())
    }
}
