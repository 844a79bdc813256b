//! What a command says: results on standard output, errors on standard error, colour only for a
//! terminal.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use crate::config::Style;

/// How findings look for whoever reads standard error.
pub(super) fn style(printer: &Printer) -> Style {
    if printer.is_terminal() { Style::Colour } else { Style::Plain }
}

/// Writes for the person or the script that ran the command.
#[derive(Debug, Default)]
pub struct Printer;

impl Printer {
    /// A result, with its own line ends.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn out(&mut self, text: &str) -> io::Result<()> {
        let mut out = AutoStream::new(io::stdout().lock(), ColorChoice::Auto);
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A result and a line end.
    ///
    /// # Errors
    /// Standard output is closed.
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
