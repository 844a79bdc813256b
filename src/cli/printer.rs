//! What a command says: results on standard output, errors on standard error, colour only for a
//! terminal.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use crate::cli::exit_status::{CommandError, ExitStatus};
use crate::config::Style;

/// How findings look for whoever reads standard error.
pub(super) fn style(printer: &Printer) -> Style {
    if printer.is_terminal() { Style::Colour } else { Style::Plain }
}

/// As an error that says how the command ends, but for a pipe that was closed on purpose.
fn unwritten(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe {
        return error;
    }
    let text = format!("standard output cannot be written: {error}");
    io::Error::other(CommandError { status: ExitStatus::CouldNotRun, text })
}

/// Writes for the person or the script that ran the command.
#[derive(Debug, Default)]
pub struct Printer;

impl Printer {
    /// A result, with its own line ends.
    ///
    /// # Errors
    /// Standard output is closed, or its device is full.
    pub fn out(&mut self, text: &str) -> io::Result<()> {
        let mut out = AutoStream::new(io::stdout().lock(), ColorChoice::Auto);
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(unwritten)
    }

    /// A result and a line end.
    ///
    /// # Errors
    /// Standard output is closed, or its device is full.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.out(&format!("{text}\n"))
    }

    /// Findings that are already rendered.
    pub fn findings(&mut self, rendered: &str) {
        // With standard error closed there is nowhere to complain.
        let _ = writeln!(AutoStream::auto(io::stderr()), "{}", rendered.trim_end());
    }

    /// What is good to know, beside the result.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(AutoStream::auto(io::stderr()), "\u{1b}[2m{text}\u{1b}[0m");
    }

    /// What went wrong.
    pub fn error(&mut self, text: &str) {
        let _ = writeln!(AutoStream::auto(io::stderr()), "\u{1b}[1;31merror\u{1b}[0m: {text}");
    }

    /// Whether results are shown in colour: on a terminal, and not where `NO_COLOR` is set.
    pub fn is_coloured(&self) -> bool {
        AutoStream::choice(&io::stdout()) != ColorChoice::Never
    }

    /// Whether standard error is a terminal.
    pub fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::unwritten;
    use crate::cli::exit_status::ExitStatus;

    #[test]
    fn a_full_standard_output_is_no_finding_and_a_closed_pipe_stays_one() {
        let full = anyhow::Error::from(unwritten(ErrorKind::StorageFull.into()));
        assert_eq!(ExitStatus::of(&full), ExitStatus::CouldNotRun);
        assert!(full.to_string().starts_with("standard output cannot be written: "), "{full}");
        let closed = unwritten(Error::from(ErrorKind::BrokenPipe));
        assert_eq!(closed.kind(), ErrorKind::BrokenPipe);
    }
}
