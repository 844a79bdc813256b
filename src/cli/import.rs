//! `difygate import`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use tempfile::NamedTempFile;

use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::config::{self, Diagnostics, Environment, Finding};
use crate::import;
use crate::import::{Places, Remark};

/// The user that the container image runs as.
const IMAGE_USER: u32 = 65532;

/// Make a configuration of a Lua configuration.
#[derive(Debug, Args)]
#[command(
    after_help = "The Lua file is read, never run: replace computed values by literals first.\n\
    The result contains the secrets of the Lua file; the output file is readable by its owner only."
)]
pub(super) struct Arguments {
    /// The Lua configuration of an OpenResty balancer; `-` is standard input
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
    let is_input = arguments.file.as_os_str() == "-";
    let path = match is_input {
        true => "standard input".to_owned(),
        false => arguments.file.display().to_string(),
    };
    let text = if is_input {
        config::read_past(io::stdin().lock(), import::LARGEST)
    } else {
        File::open(&arguments.file).and_then(|file| config::read_past(file, import::LARGEST))
    };
    let text = text.with_context(|| format!("cannot read {path}"));
    let text = text.map_err(|error| ExitStatus::Misused.error(&error))?;
    let name = match is_input {
        true => path.as_str().into(),
        false => arguments.file.file_name().unwrap_or_default().to_string_lossy(),
    };
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
        printer.findings(&placed(&path, findings, &imported.places));
    }
    if checked.is_err() {
        printer.error("nothing was written: fix the Lua file first");
        return Ok(ExitStatus::Misused);
    }
    match &arguments.output {
        None => printer.out(&imported.yaml)?,
        Some(output) => {
            let written = match arguments.force {
                true => replace(output, &imported.yaml),
                false => create(output, &imported.yaml),
            };
            written.map_err(|error| ExitStatus::CouldNotRun.error(&error))?;
            printer.findings(&next(output));
        }
    }
    Ok(ExitStatus::Done)
}

/// What to do with the file, and who may read it. The image's user is rarely the one who imports.
fn next(output: &Path) -> String {
    let shown = output.display();
    let owner = fs::metadata(output).map_or(IMAGE_USER, |file| file.uid());
    let mut text = format!(
        "wrote {shown}, which its owner alone may read (0600)\n\
         next: `difygate check {shown}`, then `difygate serve --config {shown}`"
    );
    if owner != IMAGE_USER {
        text.push_str(&format!(
            "\nin a container the gateway is user {IMAGE_USER}: `sudo chown {IMAGE_USER}:{IMAGE_USER} {shown}`"
        ));
    }
    text
}

fn render(path: &str, severity: &str, remarks: &[Remark]) -> String {
    let one = |remark: &Remark| {
        let place = (remark.line > 0).then_some((remark.line, remark.column));
        line(path, place, severity, &remark.message, remark.hint)
    };
    remarks.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Findings of the result, each at the place of the Lua file that it is about.
fn placed(path: &str, findings: &Diagnostics, places: &Places) -> String {
    let source = |place: &config::Place| places.source(place.line, place.column);
    let one = |finding: &Finding| {
        let mut message = finding.message.clone();
        if let Some(other) = &finding.related
            && let Some((line, column)) = source(&other.place)
        {
            message.push_str(&format!(" ({line}:{column}: {})", other.label));
        }
        let place = finding.at.as_ref().and_then(source);
        line(path, place, finding.severity.label(), &message, finding.hint.as_deref())
    };
    findings.findings().iter().map(one).collect::<Vec<_>>().join("\n")
}

fn line(
    path: &str,
    place: Option<(usize, usize)>,
    severity: &str,
    message: &str,
    hint: Option<&str>,
) -> String {
    let place = match place {
        None => path.to_owned(),
        Some((line, column)) => format!("{path}:{line}:{column}"),
    };
    let hint = hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("{place}: {severity}: {message}{hint}")
}

/// A new file that its owner alone may read.
pub(super) fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("cannot write {shown}"))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            replaceable(path)?;
            bail!("{shown} exists already: `--force` replaces it")
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {shown}")),
    }
}

/// A whole new file in place of the old one, which may have been readable by others. A link stays, and the
/// file that it leads to is replaced.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let target = replaceable(path)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file.persist(&target)?)
    });
    written.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

/// The file that a path leads to, there or not. A device, a pipe or a folder must stay what it is.
fn replaceable(path: &Path) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(file) if !file.is_file() => {
            bail!("{shown} is a device, a pipe or a folder, and no file: name a file")
        }
        Ok(_) => fs::canonicalize(path).with_context(|| format!("cannot write {shown}")),
        Err(_) if path.is_symlink() => {
            bail!("{shown} is a link that leads to no file: remove it, or name another file")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error).with_context(|| format!("cannot write {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::{create, replace};

    #[test]
    fn only_a_file_is_replaced_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        fs::write(at("elsewhere/real"), "old").unwrap();
        symlink("elsewhere/real", at("link")).unwrap();
        replace(&at("link"), "new").unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(fs::read_to_string(at("elsewhere/real")).unwrap(), "new");

        symlink("nowhere", at("loose")).unwrap();
        let said = replace(&at("loose"), "new").unwrap_err().to_string();
        assert!(said.ends_with("remove it, or name another file"), "{said}");
        assert!(at("loose").is_symlink() && !at("nowhere").exists());

        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("pipe", at("to_pipe")).unwrap();
        for name in ["pipe", "to_pipe", "elsewhere"] {
            for done in [replace(&at(name), "new"), create(&at(name), "new")] {
                let said = done.unwrap_err().to_string();
                assert!(said.ends_with("and no file: name a file"), "{said}");
            }
        }
        assert!(fs::metadata(at("pipe")).unwrap().file_type().is_fifo());
        assert!(at("to_pipe").is_symlink());
        replace(&at("fresh"), "new").unwrap();
        assert_eq!(fs::read_to_string(at("fresh")).unwrap(), "new");
    }
}
