//! Which Dify is simulated, and everything that differs from one to the other.
//!
//! Each question has a name and is answered here, from recordings of the real ones; what the
//! answer leads to stands where it happens. `1.14` is the release 1.14.2 of 19 May 2026, `main` the
//! main branch of 12 June 2026, which calls itself 1.14.2 too.

use std::fmt;
use std::str::FromStr;

/// A Dify that can be simulated; a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Release {
    /// 1.5.0 of June 2025.
    V1_5,
    /// 1.12.1.
    V1_12,
    /// 1.13.3.
    V1_13,
    /// The release 1.14.2.
    V1_14,
    /// The main branch of June 2026, on its way to 1.15.
    #[default]
    Main,
}

/// How text is written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As Python does: `", "` and `": "`, all non-ASCII escaped.
    Python,
    /// Without blanks, non-ASCII escaped, and `\/` for a slash.
    Slashed,
    /// Without blanks, UTF-8 as it is.
    Compact,
}

impl Release {
    /// All of them, the oldest first.
    pub const ALL: [Self; 5] = [Self::V1_5, Self::V1_12, Self::V1_13, Self::V1_14, Self::Main];

    /// What it is called here: `1.5`, `1.12`, `1.13`, `1.14` or `main`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_5 => "1.5",
            Self::V1_12 => "1.12",
            Self::V1_13 => "1.13",
            Self::V1_14 => "1.14",
            Self::Main => "main",
        }
    }

    /// What it gives in `X-Version` and `/health`; two of them give the same.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_5 => "1.5.0",
            Self::V1_12 => "1.12.1",
            Self::V1_13 => "1.13.3",
            Self::V1_14 | Self::Main => "1.14.2",
        }
    }

    /// Whether the API stands on flask-restx and pydantic: other headers, other JSON, hints at
    /// other routes in 404 texts, `GET /v1/` gone.
    pub(crate) fn is_restx(self) -> bool {
        self >= Self::V1_12
    }

    /// How the body of a JSON route is written.
    pub(crate) fn writes_bodies(self) -> Writing {
        if self.is_restx() { Writing::Slashed } else { Writing::Python }
    }

    /// How the events of a stream are written.
    pub(crate) fn writes_events(self) -> Writing {
        if self.is_restx() { Writing::Compact } else { Writing::Python }
    }

    /// Whether a streamed run of a chatflow or workflow is done by the worker, and the API only
    /// passes its events on.
    pub(crate) fn streams_flows_in_worker(self) -> bool {
        self >= Self::V1_13
    }

    /// Whether `message_end` comes before `workflow_finished`.
    pub(crate) fn ends_messages_first(self) -> bool {
        self >= Self::V1_13
    }

    /// Whether a failed chatflow ends its stream with an `error` event.
    pub(crate) fn ends_failed_flows_with_error(self) -> bool {
        self <= Self::V1_12
    }

    /// Whether a stopped chatflow still sends `message_end`.
    pub(crate) fn ends_stopped_flows_with_message(self) -> bool {
        self <= Self::V1_12
    }

    /// Whether a turn of a chatflow that names a conversation nobody knows begins a new one.
    pub(crate) fn begins_conversations_anew(self) -> bool {
        self >= Self::Main
    }

    /// Whether what the worker refuses reaches the client, as an event; else it never hears of it.
    pub(crate) fn tells_worker_errors(self) -> bool {
        self >= Self::Main
    }

    /// Whether a file belongs to the user and app it was uploaded by: since 1.14.0, as its pull
    /// requests say; recorded on main.
    pub(crate) fn binds_files(self) -> bool {
        self >= Self::V1_14
    }

    /// Whether a flow's run can be stopped by who is not its user.
    pub(crate) fn lets_others_stop(self) -> bool {
        self >= Self::V1_12
    }

    /// Whether such a stop ends the run at once; else it is noticed when all nodes have run.
    pub(crate) fn stops_for_others_at_once(self) -> bool {
        self >= Self::Main
    }

    /// Whether an unknown workflow run is 404; else it is 200 and nulls.
    pub(crate) fn misses_unknown_runs(self) -> bool {
        self >= Self::V1_13
    }

    /// Whether constant text of an answer is sent before the start node begins.
    pub(crate) fn speaks_before_start(self) -> bool {
        self >= Self::Main
    }

    /// Whether the start node shows what the system adds to the inputs.
    pub(crate) fn shows_system_inputs(self) -> bool {
        matches!(self, Self::V1_12 | Self::V1_13)
    }

    /// Whether a model node shows its model as its inputs.
    pub(crate) fn shows_models(self) -> bool {
        self >= Self::V1_14
    }

    /// Whether `workflow_started` says why.
    pub(crate) fn gives_reasons(self) -> bool {
        self >= Self::V1_13
    }

    /// Whether there are routes for the forms of a pause, and for the events of a run.
    pub(crate) fn has_forms(self) -> bool {
        self >= Self::V1_14
    }

    /// Whether a filled form's event shows what was filled in.
    pub(crate) fn shows_submissions(self) -> bool {
        self >= Self::Main
    }

    /// Whether several first turns of a user at once make several end users.
    pub(crate) fn races_new_users(self) -> bool {
        self >= Self::V1_12
    }

    /// Whether the model names conversations, away from the stream.
    pub(crate) fn names_apart(self) -> bool {
        self.is_restx()
    }

    /// Runs that the stock worker does at a time: one, or what 1.14 and later were recorded with.
    pub(crate) fn worker_places(self) -> usize {
        if self >= Self::V1_14 { 4 } else { 1 }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no release has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRelease;

impl fmt::Display for UnknownRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are 1.5, 1.12, 1.13, 1.14 and main")
    }
}

impl std::error::Error for UnknownRelease {}

impl FromStr for Release {
    type Err = UnknownRelease;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|release| release.name() == text).ok_or(UnknownRelease)
    }
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn each_release_is_found_by_its_name_and_the_newest_is_the_default() {
        for release in Release::ALL {
            assert_eq!(release.name().parse(), Ok(release));
        }
        assert!("1.6".parse::<Release>().is_err());
        assert_eq!(Release::ALL.last(), Some(&Release::default()));
        assert!(Release::ALL.is_sorted());
    }
}
