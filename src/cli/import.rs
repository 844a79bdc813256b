//! `difygate import`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use tempfile::NamedTempFile;

use crate::cli::check::style;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::config::{self, Environment};
use crate::import;
use crate::import::Remark;

/// Make a configuration of a Lua configuration.
#[derive(Debug, Args)]
#[command(
    after_help = "The Lua file is read, never run: replace computed values by literals first.\n\
    The result contains the secrets of the Lua file; the output file is readable by its owner only."
)]
pub(super) struct Arguments {
    /// The Lua configuration of an OpenResty balancer
    #[arg(value_name = "FILE", default_value = "config.lua")]
    file: PathBuf,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output file if there is one
    #[arg(long, requires = "output")]
    force: bool,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let path = arguments.file.display().to_string();
    let text = fs::read(&arguments.file).with_context(|| format!("cannot read {path}"))?;
    let Ok(text) = String::from_utf8(text) else {
        printer.findings(&format!("{path}: error: this is not UTF-8 text"));
        return Ok(ExitStatus::Misused);
    };
    let name = arguments.file.file_name().unwrap_or_default().to_string_lossy();
    // The name comes into a comment, and a name may hold a line break.
    let imported = match import::import(&name.escape_debug().to_string(), &text) {
        Ok(imported) => imported,
        Err(remarks) => {
            printer.findings(&render(&path, "error", &remarks));
            return Ok(ExitStatus::Misused);
        }
    };
    if !imported.ignored.is_empty() {
        printer.findings(&render(&path, "warning", &imported.ignored));
    }
    // Whatever the variables will hold, each is something else and may be a number.
    let numbers = (1_u32..).map(|number| number.to_string());
    let vars = imported.variables.iter().cloned().zip(numbers).collect();
    let environment = Environment { vars, ..Environment::default() };
    let checked = config::parse("the result", &imported.yaml, &environment);
    let findings = checked.as_ref().map_or_else(|findings| findings, |loaded| &loaded.warnings);
    if !findings.is_empty() {
        printer.findings(&findings.render(style(printer)));
    }
    if checked.is_err() {
        printer.error("nothing was written: fix the Lua file first");
        return Ok(ExitStatus::Misused);
    }
    match &arguments.output {
        None => printer.out(&imported.yaml)?,
        Some(output) if arguments.force => replace(output, &imported.yaml)?,
        Some(output) => create(output, &imported.yaml)?,
    }
    Ok(ExitStatus::Done)
}

fn render(path: &str, severity: &str, remarks: &[Remark]) -> String {
    let one = |remark: &Remark| {
        let place = match remark.line {
            0 => path.to_owned(),
            line => format!("{path}:{line}:{}", remark.column),
        };
        let hint = remark.hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{place}: {severity}: {}{hint}", remark.message)
    };
    remarks.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// A new file that its owner alone may read.
pub(super) fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("cannot write {shown}"))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{shown} exists already: `--force` replaces it")
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {shown}")),
    }
}

/// A whole new file in place of the old one, which may have been readable by others.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file.persist(path)?)
    });
    written.map(drop).with_context(|| format!("cannot write {}", path.display()))
}
