//! `difygate check`.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::cli::ask_instances::{Asked, ask_all, text};
use crate::cli::config_source::ConfigOption;
use crate::cli::environment::environment;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
pub(super) use crate::cli::printer::style;
use crate::cli::routes;
use crate::cli::serve::block_on;
use crate::cli::start_hints;
use crate::config::{Config, Diagnostics, Environment, Loaded, Missing, Source};
use crate::control;

/// Check a configuration file.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 it is valid, perhaps with warnings, 1 --ask found an instance that does not \
    answer or refuses its key, 2 the command line or the configuration is wrong."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    named: ConfigOption,
    /// Do not fail on environment variables that are not set and on files of secrets and certificates
    /// that are not there: check what can be checked without them
    #[arg(long)]
    allow_missing_env: bool,
    /// Ask every instance with every key whether it knows the app; no run is started
    #[arg(long, conflicts_with = "allow_missing_env")]
    ask: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Checks a file; warnings do not make it fail.
pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let source = arguments.named.source();
    let missing = if arguments.allow_missing_env { Missing::Allowed } else { Missing::Refused };
    let (checked, findings) = match source.load(&Environment { missing, ..environment() }) {
        Ok(loaded) => with_certificates(loaded, missing, &source),
        Err(findings) => (None, findings),
    };
    let asked = match &checked {
        Some(loaded) if arguments.ask => Some(block_on(ask_all(&loaded.config))?),
        _ => None,
    };
    let is_wrong = asked.iter().flatten().any(Asked::is_wrong);
    let status = match checked {
        None => ExitStatus::Misused,
        Some(_) if is_wrong => ExitStatus::Failed,
        Some(_) => ExitStatus::Done,
    };
    if arguments.json {
        let changes = checked.as_ref().map(|loaded| loaded.changes.to_json());
        let report = json!({
            "file": source.to_string(),
            "valid": checked.is_some(),
            "findings": findings.to_json(),
            "changes": changes.unwrap_or_else(|| json!([])),
            "routes": checked.as_ref().map(|loaded| routes::to_json(&loaded.config)),
            "not_set": checked.as_ref().map(|loaded| &loaded.unset.names),
            "asked": asked.map(|asked| asked.iter().map(Asked::to_json).collect::<Vec<_>>()),
        });
        printer.line(&serde_json::to_string_pretty(&report)?)?;
        return Ok(status);
    }
    if !findings.is_empty() {
        printer.findings(&findings.render(style(printer)));
    }
    if let Some(Loaded { config, changes, unset, notes, .. }) = checked {
        printer.line(&format!("{source} is valid: {}", summary(&config)))?;
        if !unset.names.is_empty() {
            let names: Vec<_> = unset.names.iter().map(String::as_str).collect();
            printer.line(&format!("not here, and so not checked: {}", names.join(", ")))?;
        }
        if !changes.is_empty() {
            printer.line(&changes.to_string())?;
        }
        for note in notes {
            printer.line(&format!("note: {note}"))?;
        }
        if !config.services.is_empty() {
            printer.out(&format!("\n{}", routes::text(&config)))?;
        }
    }
    if let Some(asked) = asked {
        printer.out(&format!("\n{}", text(&asked)))?;
    }
    Ok(status)
}

/// A configuration whose certificates are good, and what was found.
fn with_certificates(
    mut loaded: Loaded,
    missing: Missing,
    source: &Source,
) -> (Option<Loaded>, Diagnostics) {
    let findings = loaded.warnings.clone();
    let away: Vec<_> = certificate_files(&loaded.config)
        .filter(|file| !file.exists())
        .map(|file| file.display().to_string())
        .collect();
    if missing == Missing::Allowed && !away.is_empty() {
        loaded.unset.names.extend(away);
        return (Some(loaded), findings);
    }
    match start_hints::spool(&loaded.config, &source.to_string()) {
        Err(_) if missing == Missing::Allowed => {
            loaded
                .unset
                .names
                .extend(loaded.config.spool_dir.iter().map(|dir| dir.display().to_string()));
        }
        Err(no_folder) => return (None, no_folder),
        Ok(()) => {}
    }
    match control::certificates(&loaded.config) {
        Ok(expiring) => {
            let mut findings = findings;
            expiring.iter().for_each(|warning| findings.warn(warning, control::RENEW));
            (Some(loaded), findings)
        }
        Err(fault) => {
            (None, Diagnostics::of_error(&source.to_string(), &fault, control::CERTIFICATES))
        }
    }
}

fn certificate_files(config: &Config) -> impl Iterator<Item = &Path> {
    let own = config.tls.iter().flat_map(|one| [&one.cert, &one.key]);
    let clients = config.client_certificates.iter().map(|clients| &clients.ca);
    let authorities = config.instances().filter_map(|instance| instance.tls.ca.as_ref());
    own.chain(clients).chain(authorities).map(std::path::PathBuf::as_path)
}

/// How much there is in a configuration.
pub(super) fn summary(config: &Config) -> String {
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
    if !config.services.is_empty() {
        parts.push(plural(config.services.len(), "service"));
    }
    parts.join(", ")
}
