//! How a run that was resumed after its stream broke off went on.

/// How a run that was to be taken up again went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// Its client got all of it.
    Continued,
    /// The same, but its text did not continue what the client had.
    Differs,
    /// It could not be taken up.
    Failed,
}

impl ResumeOutcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Continued, Self::Differs, Self::Failed];

    /// As metrics have it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Continued => "continued",
            Self::Differs => "differs",
            Self::Failed => "failed",
        }
    }
}
