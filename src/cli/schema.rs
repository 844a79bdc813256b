//! `difygate schema`.

use crate::cli::ExitStatus;
use crate::cli::printer::Printer;
use crate::config;

/// Prints the JSON Schema.
pub(super) fn run(printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    printer.line(&serde_json::to_string_pretty(&config::schema())?)?;
    Ok(ExitStatus::Done)
}
