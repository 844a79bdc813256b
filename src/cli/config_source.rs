//! Which configuration a command is about.

use std::path::PathBuf;

use clap::Args;

use crate::cli::environment::environment;
use crate::config::Source;

/// The configuration of `--config`, or of the environment.
#[derive(Debug, Args)]
pub(super) struct ConfigOption {
    /// The configuration file [default: difygate.yaml, else the variables of OpenDify if they are set]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    variables: Variables,
}

/// The same as an argument.
#[derive(Debug, Args)]
pub(super) struct ConfigArgument {
    /// The configuration file [default: difygate.yaml, else the variables of OpenDify if they are set]
    #[arg(value_name = "FILE")]
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
        self.variables.or(&self.file)
    }
}

impl ConfigArgument {
    /// Where the configuration comes from.
    pub(super) fn source(&self) -> Source {
        self.variables.or(&self.file)
    }
}
