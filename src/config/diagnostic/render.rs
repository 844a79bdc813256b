//! Findings as text: the line, the caret under it, the hint.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::finding::{Finding, Place, Severity, Style};
use super::redact::Masks;

/// The place of a byte range. What goes beyond the first line is cut off: one line says enough, and
/// the fewer are shown the better.
pub(super) fn place(text: &str, masks: &Masks, span: Range<usize>) -> Place {
    let start = floor(text, span.start);
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = &text[line_start..];
    let line = rest.find('\n').map_or(rest, |end| &rest[..end]).trim_end();
    let line_end = line_start + line.len();
    let end = floor(text, span.end.max(start)).min(line_end);
    let end = start + text.get(start..end).map_or(0, |marked| marked.trim_end().len());
    let (shown, marked) = masks.line(text, line_start..line_end, start.min(line_end)..end);
    Place {
        line: before.matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        shown,
        marked,
    }
}

/// The last boundary between characters that is not beyond `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

pub(super) fn render(name: &str, findings: &[Finding], style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Colour => Renderer::styled(),
    };
    let one = |finding: &Finding| {
        let mut text = renderer.render(&[group(name, finding)]);
        let related = finding.related.as_ref().map(|related| &related.place);
        let mut from = 0;
        for place in finding.at.iter().chain(related) {
            from = true_column(&mut text, from, name, place);
        }
        text
    };
    findings.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// Puts the file's column where the renderer has put the masked line's. Gives the offset behind it.
fn true_column(text: &mut String, from: usize, name: &str, place: &Place) -> usize {
    let column = place.shown[..place.marked.start].chars().count() + 1;
    let wrong = format!("{name}:{}:{column}", place.line);
    let Some(start) = text[from..].find(&wrong).map(|at| from + at) else { return from };
    let right = format!("{name}:{}:{}", place.line, place.column);
    text.replace_range(start..start + wrong.len(), &right);
    start + right.len()
}

fn group<'a>(name: &'a str, finding: &'a Finding) -> Group<'a> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(finding.message.as_str());
    let mut group = match &finding.at {
        None => title.element(Origin::path(name)),
        Some(place) => title.element(snippet(name, place, None)),
    };
    if let Some(related) = &finding.related {
        group = group.element(snippet(name, &related.place, Some(&related.label)));
    }
    match &finding.hint {
        Some(hint) => group.element(Level::HELP.with_name("hint").message(hint.as_str())),
        None => group,
    }
}

fn snippet<'a>(
    name: &'a str,
    place: &'a Place,
    label: Option<&'a str>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let kind = if label.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
    Snippet::source(place.shown.as_str())
        .path(name)
        .line_start(place.line)
        .annotation(kind.span(place.marked.clone()).label(label))
}
