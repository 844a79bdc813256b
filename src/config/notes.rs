//! Findings while they are being collected, with places as byte ranges.

use std::ops::Range;

use super::diagnostic::Severity;

/// More findings than this help nobody; the rest is left out.
pub(super) const MOST_FINDINGS: usize = 64;

/// A finding before it gets its line.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) severity: Severity,
    /// Bytes of the text; `None` where the fault is not in the text.
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) related: Option<(Range<usize>, String)>,
}

impl Draft {
    pub(super) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, span: Some(span), message, hint: None, related: None }
    }

    pub(super) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// What is no fault.
    fn note(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(span, message) }
    }

    /// A fault of the file as a whole.
    pub(super) fn placeless(message: impl Into<String>) -> Self {
        Self { span: None, ..Self::error(0..0, message) }
    }

    /// The same as a warning.
    pub(super) fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn related(self, span: Range<usize>, label: impl Into<String>) -> Self {
        Self { related: Some((span, label.into())), ..self }
    }
}

/// The findings of one document.
#[derive(Debug, Default)]
pub(super) struct Notes {
    drafts: Vec<Draft>,
    /// What an earlier version did otherwise.
    changes: Vec<Draft>,
}

impl Notes {
    /// What is shared by an anchor is faulty once, however many apps use it. Many warnings leave the
    /// room for errors as it is.
    pub(super) fn add(&mut self, draft: Draft) {
        let known = |other: &Draft| other.span == draft.span && other.message == draft.message;
        let like = self.drafts.iter().filter(|other| other.severity == draft.severity).count();
        if like < MOST_FINDINGS && !self.drafts.iter().any(known) {
            self.drafts.push(draft);
        }
    }

    /// What an earlier version did otherwise, as far as it matters here.
    pub(super) fn change(&mut self, draft: Draft) {
        self.changes.push(draft);
    }

    /// The same, where nothing need be done.
    pub(super) fn changed(&mut self, span: Range<usize>, message: &str) {
        self.change(Draft::note(span, message));
    }

    /// Takes out what was noted of changes.
    pub(super) fn take_changes(&mut self) -> Self {
        Self { drafts: std::mem::take(&mut self.changes), changes: Vec::new() }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.drafts.iter().any(|draft| draft.severity == Severity::Error)
    }

    /// In the order of the text; what has no place comes first.
    pub(super) fn into_sorted(mut self) -> Vec<Draft> {
        self.drafts.sort_by_key(|draft| draft.span.as_ref().map(|span| (span.start, span.end)));
        self.drafts
    }
}
