//! The logs of `difygate serve`, as the configuration has them.

use crate::config::{self, Config};
use crate::telemetry::{self, Destination, Format};

pub(super) fn error_log(config: &Config) -> anyhow::Result<()> {
    let filter = config.log_level.unwrap_or("info");
    match &config.error_log {
        config::ErrorLog::Stderr => telemetry::start_error_log(filter),
        config::ErrorLog::File(path) => telemetry::start_error_log_in(path, filter)?,
    }
    Ok(())
}

pub(super) fn access_log(written: &config::AccessLog) -> Option<(Format, Destination)> {
    let format = |format: config::LogFormat| match format {
        config::LogFormat::Json => Format::Json,
        config::LogFormat::Combined => Format::Combined,
    };
    match written {
        config::AccessLog::Off => None,
        config::AccessLog::Stdout(written) => Some((format(*written), Destination::Stdout)),
        config::AccessLog::File { path, format: written } => {
            Some((format(*written), Destination::File(path.clone())))
        }
    }
}
