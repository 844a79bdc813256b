//! The logs of `difygate serve`, as the configuration has them.

use std::io;
use std::path::Path;

use anyhow::anyhow;

use crate::config::{self, Config};
use crate::telemetry::{self, AccessLog, Destination, Format};

pub(super) fn error_log(config: &Config) -> anyhow::Result<()> {
    let filter = config.log_level.unwrap_or("info");
    match &config.error_log {
        config::ErrorLog::Stderr => telemetry::start_error_log(filter),
        config::ErrorLog::File(path) => {
            let started = telemetry::start_error_log_in(path, filter);
            started.map_err(|error| with_owner(error, path))?;
        }
    }
    Ok(())
}

/// What went wrong with a file, and what to type if it is only somebody else's.
fn with_owner(error: io::Error, path: &Path) -> anyhow::Error {
    match config::access_hint(path, config::Wanted::Write, config::Role::Gateway) {
        Some(hint) => anyhow!("{error}; {hint}"),
        None => error.into(),
    }
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

pub(super) fn start_access_log(
    format: Format,
    destination: Destination,
) -> anyhow::Result<AccessLog> {
    let path = match &destination {
        Destination::Stdout => None,
        Destination::File(path) => Some(path.clone()),
    };
    AccessLog::start(format, destination).map_err(|error| match path {
        Some(path) => with_owner(error, &path),
        None => error.into(),
    })
}
