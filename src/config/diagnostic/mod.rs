//! What is wrong with a configuration, for people and for programs.
//!
//! A [`Finding`] keeps the line it is about with every secret masked, and nothing else of the text:
//! no way of printing one, `Debug` included, can show a token.

mod finding;
mod redact;
mod render;
mod sink;

use std::fmt::{self, Display};
use std::ops::Range;

use serde_json::{Value, json};

use redact::Masks;

pub use finding::{Finding, Place, Related, Severity, Style};
pub(crate) use sink::{DiagnosticBuilder, DiagnosticSink, MAX_FINDINGS};

/// All findings about one text, in its order.
///
/// `Display` gives one line per finding, `file:line:column: error: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    name: String,
    findings: Vec<Finding>,
}

impl Diagnostics {
    pub(super) fn new(name: &str, text: &str, sink: DiagnosticSink) -> Self {
        let drafts = sink.into_sorted();
        // Masking walks the whole text, which a good configuration need not pay for.
        let masks = if drafts.is_empty() { Masks::default() } else { Masks::new(text) };
        let place = |span: Range<usize>| render::place(text, &masks, span);
        let findings = drafts.into_iter().map(|draft| Finding {
            severity: draft.severity,
            at: draft.span.map(place),
            message: draft.message,
            hint: draft.hint,
            related: draft.related.map(|(span, label)| Related { place: place(span), label }),
        });
        Self { name: name.to_owned(), findings: findings.collect() }
    }

    /// One error that is about no place in the text.
    pub fn of_error(name: &str, message: &str, hint: &str) -> Self {
        let mut sink = DiagnosticSink::default();
        sink.add(DiagnosticBuilder::placeless(message).hint(hint));
        Self::new(name, "", sink)
    }

    /// These, and behind them those of another text.
    #[must_use]
    pub(super) fn and(mut self, more: Self) -> Self {
        self.findings.extend(more.findings);
        self
    }

    /// These without their places in the text, which nobody has written, each led by what `origin` calls the
    /// place's line.
    #[must_use]
    pub(super) fn told_by(mut self, origin: impl Fn(usize) -> Option<&'static str>) -> Self {
        for finding in &mut self.findings {
            let place = finding.at.take();
            finding.related = None;
            if let Some(origin) = place.and_then(|place| origin(place.line)) {
                finding.message = format!("{origin}: {}", finding.message);
            }
        }
        self
    }

    /// The warnings among them.
    #[must_use]
    pub(super) fn only_warnings(mut self, is_told: impl Fn(&str) -> bool) -> Self {
        self.findings.retain(|one| one.severity == Severity::Warning && is_told(&one.message));
        self
    }

    /// Adds a warning that is about no place in the text.
    pub fn warn(&mut self, message: &str, hint: &str) {
        let mut sink = DiagnosticSink::default();
        sink.add(DiagnosticBuilder::placeless(message).into_warning().hint(hint));
        self.findings.extend(Self::new(&self.name, "", sink).findings);
    }

    /// The warnings among them, on one line each, without a place.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        let warnings = self.findings.iter().filter(|one| one.severity == Severity::Warning);
        warnings.map(|finding| finding.message.as_str())
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The findings.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The name of the text, as it was given to `load` or `parse`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Each finding with its line, a caret and a hint; a blank line between two. No line break at
    /// the end.
    pub fn render(&self, style: Style) -> String {
        render::render(&self.name, &self.findings, style)
    }

    /// A list of objects with `file`, `line`, `column`, `severity`, `message` and `hint`; `line`,
    /// `column` and `hint` may be null. `related` is there only if there is one: `line`, `column`
    /// and `label`.
    pub fn to_json(&self) -> Value {
        let one = |finding: &Finding| {
            let mut object = json!({
                "file": self.name,
                "line": finding.at.as_ref().map(|place| place.line),
                "column": finding.at.as_ref().map(|place| place.column),
                "severity": finding.severity.label(),
                "message": finding.message,
                "hint": finding.hint,
            });
            if let Some(Related { place, label }) = &finding.related {
                object["related"] =
                    json!({ "line": place.line, "column": place.column, "label": label });
            }
            object
        };
        Value::Array(self.findings.iter().map(one).collect())
    }

    /// `file:line:column` of the first error, or of the first finding if there is no error; the
    /// file alone if it has no place. `None` if nothing was found.
    pub fn first_place(&self) -> Option<String> {
        let error = self.findings.iter().find(|finding| finding.severity == Severity::Error);
        error.or(self.findings.first()).map(|finding| self.place_of(finding))
    }

    fn place_of(&self, finding: &Finding) -> String {
        match &finding.at {
            Some(place) => format!("{}:{}:{}", self.name, place.line, place.column),
            None => self.name.clone(),
        }
    }
}

impl Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            let (place, severity) = (self.place_of(finding), finding.severity.label());
            write!(f, "{end}{place}: {severity}: {}", finding.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
