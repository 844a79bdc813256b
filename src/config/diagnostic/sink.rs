//! Findings while they are being collected, with places as byte ranges.

use std::ops::Range;

use super::finding::Severity;
use crate::config::unset::{Unset, UnsetText};
use crate::model::Token;

/// More findings than this help nobody; the rest is left out.
pub(crate) const MAX_FINDINGS: usize = 64;

/// A finding before it gets its line.
#[derive(Debug)]
pub(crate) struct DiagnosticBuilder {
    pub(super) severity: Severity,
    /// Bytes of the text; `None` where the fault is not in the text.
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) related: Option<(Range<usize>, String)>,
}

impl DiagnosticBuilder {
    pub(crate) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, span: Some(span), message, hint: None, related: None }
    }

    pub(crate) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// What is no fault.
    fn note(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(span, message) }
    }

    /// A fault of the file as a whole.
    pub(crate) fn placeless(message: impl Into<String>) -> Self {
        Self { span: None, ..Self::error(0..0, message) }
    }

    /// The same as a warning.
    pub(crate) fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn is_error_in(&self, part: &Range<usize>) -> bool {
        let is_in = |span: &Range<usize>| part.contains(&span.start);
        self.severity == Severity::Error && self.span.as_ref().is_some_and(is_in)
    }

    pub(crate) fn related(self, span: Range<usize>, label: impl Into<String>) -> Self {
        Self { related: Some((span, label.into())), ..self }
    }
}

/// The findings of one document.
#[derive(Debug, Default)]
pub(crate) struct DiagnosticSink {
    drafts: Vec<DiagnosticBuilder>,
    /// What an earlier version did otherwise.
    changes: Vec<DiagnosticBuilder>,
    /// Texts of which nothing is known, and so nothing wrong.
    unset: Vec<UnsetText>,
}

impl DiagnosticSink {
    /// What is shared by an anchor is faulty once, however many apps use it. Many warnings leave the
    /// room for errors as it is.
    pub(crate) fn add(&mut self, draft: DiagnosticBuilder) {
        if draft.span.as_ref().is_some_and(|span| self.is_unset(span)) {
            return;
        }
        let known =
            |other: &DiagnosticBuilder| other.span == draft.span && other.message == draft.message;
        let like = self.drafts.iter().filter(|other| other.severity == draft.severity).count();
        if like < MAX_FINDINGS && !self.drafts.iter().any(known) {
            self.drafts.push(draft);
        }
    }

    /// Forgets the errors: another one has caused them.
    pub(crate) fn drop_errors(&mut self) {
        self.drafts.retain(|draft| draft.severity != Severity::Error);
    }

    /// Forgets the errors within a part of the text.
    pub(crate) fn drop_errors_in(&mut self, part: &Range<usize>) {
        self.drafts.retain(|draft| !draft.is_error_in(part));
    }

    /// Whether there is an error within a part of the text.
    pub(crate) fn has_error_in(&self, part: &Range<usize>) -> bool {
        self.drafts.iter().any(|draft| draft.is_error_in(part))
    }

    /// What an earlier version did otherwise, as far as it matters here.
    pub(crate) fn change(&mut self, draft: DiagnosticBuilder) {
        self.changes.push(draft);
    }

    /// The same, where nothing need be done.
    pub(crate) fn changed(&mut self, span: Range<usize>, message: &str) {
        self.change(DiagnosticBuilder::note(span, message));
    }

    /// Takes out what was noted of changes.
    pub(crate) fn take_changes(&mut self) -> Self {
        Self { drafts: std::mem::take(&mut self.changes), ..Self::default() }
    }

    /// A text is not known, because a variable or a file is missing.
    pub(crate) fn unset(&mut self, span: Range<usize>, name: &str) {
        self.unset.push(UnsetText { span, name: name.to_owned(), secret: None });
    }

    /// The text is to be a secret.
    pub(crate) fn wants_secret(&mut self, span: &Range<usize>, written: &Token) {
        for unset in self.unset.iter_mut().filter(|unset| unset.span == *span) {
            unset.secret = Some(written.clone());
        }
    }

    /// Whether nothing is known of a text.
    pub(crate) fn is_unset(&self, span: &Range<usize>) -> bool {
        let is_within = |unset: &UnsetText| {
            unset.span.start <= span.start && span.end <= unset.span.end && !span.is_empty()
        };
        self.unset.iter().any(is_within)
    }

    /// Takes out those that are no secrets.
    pub(crate) fn take_plain_unset(&mut self) -> Vec<(Range<usize>, String)> {
        let plain = self.unset.extract_if(.., |unset| unset.secret.is_none());
        plain.map(|unset| (unset.span, unset.name)).collect()
    }

    /// What was not there.
    pub(crate) fn unset_names(&self) -> Unset {
        let mut all = Unset::default();
        for unset in &self.unset {
            all.names.insert(unset.name.clone());
            all.secrets.extend(unset.secret.clone());
        }
        all
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.drafts.iter().any(|draft| draft.severity == Severity::Error)
    }

    /// In the order of the text; what has no place comes first, and errors of one place before its warnings.
    pub(crate) fn into_sorted(mut self) -> Vec<DiagnosticBuilder> {
        self.drafts.sort_by_key(|draft| {
            let place = draft.span.as_ref().map(|span| (span.start, span.end));
            (place, draft.severity != Severity::Error)
        });
        self.drafts
    }
}
