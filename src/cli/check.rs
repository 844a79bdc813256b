//! `difygate check`.

use clap::Args;
use serde_json::json;

use crate::cli::config_source::ConfigArgument;
use crate::cli::environment::environment;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::config::{Config, Diagnostics, Style};
use crate::control;

const CERTIFICATES: &str =
    "a certificate and its key are two PEM files, the key without a passphrase";

/// Check a configuration file.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    named: ConfigArgument,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Checks a file; warnings do not make it fail.
pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let source = arguments.named.source();
    let (checked, findings) = match source.load(&environment()) {
        Ok(loaded) => match control::certificates(&loaded.config) {
            Ok(expiring) => {
                let mut findings = loaded.warnings;
                expiring.iter().for_each(|warning| findings.warn(warning, control::RENEW));
                (Some((loaded.config, loaded.changes, loaded.notes)), findings)
            }
            Err(fault) => (None, Diagnostics::of_error(&source.to_string(), &fault, CERTIFICATES)),
        },
        Err(findings) => (None, findings),
    };
    let status = if checked.is_some() { ExitStatus::Done } else { ExitStatus::Misused };
    if arguments.json {
        let changes = checked.as_ref().map(|(_, changes, _)| changes.to_json());
        let report = json!({
            "valid": checked.is_some(),
            "findings": findings.to_json(),
            "changes": changes.unwrap_or_else(|| json!([])),
        });
        printer.line(&serde_json::to_string_pretty(&report)?)?;
        return Ok(status);
    }
    if !findings.is_empty() {
        printer.findings(&findings.render(style(printer)));
    }
    if let Some((config, changes, notes)) = checked {
        printer.line(&format!("{source} is valid: {}", summary(&config)))?;
        if !changes.is_empty() {
            printer.line(&changes.to_string())?;
        }
        for note in notes {
            printer.line(&format!("note: {note}"))?;
        }
    }
    Ok(status)
}

pub(super) fn style(printer: &Printer) -> Style {
    if printer.is_terminal() { Style::Colour } else { Style::Plain }
}

fn summary(config: &Config) -> String {
    let instances: usize = config.apps.values().map(|app| app.instances.len()).sum();
    let tokens: usize = config.apps.values().map(|app| app.user_tokens.len()).sum();
    let plural = |count, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let mut parts = vec![plural(config.apps.len(), "app")];
    if tokens > 0 || config.keys.is_empty() {
        parts.push(plural(tokens, "token"));
    }
    if !config.keys.is_empty() {
        parts.push(plural(config.keys.len(), "key"));
    }
    parts.push(plural(instances, "instance"));
    parts.join(", ")
}
