//! How a command ended, for whoever asks `$?`.

use std::io;
use std::process::ExitCode;

/// The codes, for the help of the program.
pub(super) const EXIT_CODES: &str = "\
Exit codes, of every command:
  0  done
  1  failed, or something was found
  2  the command line or a configuration is wrong
  3  it could not run: no gateway answers (`health` says 1 then, as Docker wants it), an address is taken, a file
     cannot be written
  4  it stopped half-way
  5  it was refused: the token or the address may not do this";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It did what was asked.
    Done,
    /// It failed, or found what it was to look for.
    Failed,
    /// The command line or the configuration is wrong.
    Misused,
    /// It could not begin.
    CouldNotRun,
    /// It began, and what it did until then stays.
    Stopped,
    /// It may not.
    Refused,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Done => Self::SUCCESS,
            ExitStatus::Failed => Self::from(1),
            ExitStatus::Misused => Self::from(2),
            ExitStatus::CouldNotRun => Self::from(3),
            ExitStatus::Stopped => Self::from(4),
            ExitStatus::Refused => Self::from(5),
        }
    }
}

/// An error that says how the command ends; any other means [`ExitStatus::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct CommandError {
    /// How it ends.
    pub status: ExitStatus,
    /// What the user reads.
    pub text: String,
}

impl CommandError {
    /// As an error to be returned.
    pub(super) fn of(status: ExitStatus, text: impl Into<String>) -> anyhow::Error {
        Self { status, text: text.into() }.into()
    }
}

impl ExitStatus {
    /// How a command ends that gives this error.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<CommandError>());
        let named = error.downcast_ref::<CommandError>().or(inner);
        named.map_or(Self::Failed, |error| error.status)
    }

    /// An error with all that it says, as one that ends a command so.
    pub(super) fn error(self, error: &anyhow::Error) -> anyhow::Error {
        CommandError::of(self, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::{CommandError, ExitStatus};

    #[test]
    fn an_error_keeps_its_exit_code_under_what_is_said_about_it() {
        let refused = Err::<(), _>(CommandError::of(ExitStatus::Refused, "no"));
        let said = refused.context("cannot compare").unwrap_err();
        assert_eq!(ExitStatus::of(&said), ExitStatus::Refused);
        assert_eq!(format!("{said:#}"), "cannot compare: no");
        assert_eq!(ExitStatus::of(&anyhow!("else")), ExitStatus::Failed);
        let later = ExitStatus::Stopped.error(&said);
        assert_eq!(
            (ExitStatus::of(&later), later.to_string()),
            (ExitStatus::Stopped, "cannot compare: no".into())
        );
    }
}
