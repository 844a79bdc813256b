//! Learns from a stream while it passes.
//!
//! Dify writes each event as one line `data: {"event": "…", …}` and a blank line; its JSON has no
//! line ends in it. So the learner looks at lines. Until one has named the task each is read whole;
//! after that only its first bytes, which hold the event's name, and the rest is passed over at the
//! speed of a search for the line's end. One of a few that end a run or name a form is read whole
//! again.

use memchr::memchr;

use super::envelope::{End, Envelope, Wanted, names_a_form};
use super::explain::{Outcome, is_stop};
use super::learned_ids::LearnedIds;
use super::usage::Usage;

/// The most bytes kept of an event that is cut over pieces of the stream. One that is whole in its
/// piece is not copied, whatever its size.
const MAX_KEPT: usize = 256 * 1024;

/// By how many bytes of a line the event's name is known: `data: {"event": "human_input_required"`
/// and room for blanks.
const MAX_HEAD: usize = 96;

/// How many events without a task are read whole before the stream is taken for another than
/// Dify's.
pub(super) const PATIENCE: u8 = 64;

/// What is known of a line by its first bytes.
enum Line {
    Wanted,
    /// No matter what follows.
    Skipped,
    /// Too few bytes.
    Unsure,
}

/// What a pause of a run is to its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pauses {
    /// Its end.
    #[default]
    End,
    /// A wait: the stream was asked for with `continue_on_pause`.
    Wait,
}

/// Whether the answer is being spoken, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Speech {
    #[default]
    None,
    Begun,
    Ended,
}

/// Reads the events of a stream beside their way: [`feed`](Self::feed) it each piece.
#[derive(Debug, Default)]
pub struct EventLearner {
    found: Envelope,
    ended: bool,
    flow_ended: bool,
    message_ended: bool,
    pauses: Pauses,
    speech: Speech,
    failure: Option<String>,
    stopped: bool,
    /// Events read whole that named no task.
    pub(super) without_task: u8,
    /// The line that the last piece left unfinished, if it may matter.
    pub(super) kept: Vec<u8>,
    /// The last piece ended within a line that does not matter.
    skipping: bool,
}

impl EventLearner {
    /// A learner before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ids seen so far.
    pub fn learned(&self) -> &LearnedIds {
        &self.found.learned
    }

    /// What the run used; known with its end at the earliest.
    pub fn usage(&self) -> Option<Usage> {
        self.found.usage
    }

    /// The same of a stream that may go on after a pause.
    #[must_use]
    pub fn with_pauses(self, pauses: Pauses) -> Self {
        Self { pauses, ..self }
    }

    /// Whether the run is over: by `error`, by `workflow_paused`, by `message_end` where there is no
    /// workflow in the stream, by `workflow_finished` of a workflow app, and in a chatflow by both of
    /// these, in whichever order: up to 1.12 the workflow's end comes first, later the message's. A
    /// chatflow that failed or was stopped may have no `message_end`; up to 1.12 one or an `error`
    /// follows at once. Dify may keep the stream open for long after that.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether all of the answer is here, so that nothing later undoes it.
    pub fn answered(&self) -> bool {
        self.ended || self.message_ended
    }

    /// Whether sound of the answer may still come: the first has, and the last has not.
    pub fn speaks(&self) -> bool {
        self.speech == Speech::Begun
    }

    /// Why the run failed, as an `error` or `workflow_finished` said; not that it was stopped.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether the run ended because somebody stopped it.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether pieces that are [`is_skippable`] change nothing for it.
    pub fn is_calm(&self) -> bool {
        self.found.learned.task_text.is_some() && self.kept.is_empty() && !self.skipping
    }

    /// Looks at the next piece of the stream.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(end) = memchr(b'\n', rest) {
            self.last_of_line(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            self.part_of_line(rest);
        }
    }

    fn last_of_line(&mut self, part: &[u8]) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        if self.kept.is_empty() {
            self.line(part);
        } else if self.kept.len() + part.len() <= MAX_KEPT {
            let mut line = std::mem::take(&mut self.kept);
            line.extend_from_slice(part);
            self.line(&line);
        } else {
            self.give_up();
        }
    }

    fn part_of_line(&mut self, part: &[u8]) {
        if self.skipping {
            return;
        }
        // The first bytes alone may settle it, without copying what follows.
        let verdict = if self.kept.is_empty() {
            self.judge(part)
        } else if self.kept.len() < MAX_HEAD {
            let more = part.len().min(MAX_HEAD);
            let mut head = self.kept.clone();
            head.extend_from_slice(&part[..more]);
            self.judge(&head)
        } else {
            Line::Wanted
        };
        if matches!(verdict, Line::Skipped) {
            self.kept = Vec::new();
            self.skipping = true;
        } else if self.kept.len() + part.len() <= MAX_KEPT {
            self.kept.extend_from_slice(part);
        } else {
            self.kept.extend_from_slice(&part[..MAX_KEPT - self.kept.len()]);
            self.give_up();
            self.skipping = true;
        }
    }

    /// The line is too long to be kept: what its beginning says is noted.
    fn give_up(&mut self) {
        let line = std::mem::take(&mut self.kept);
        self.line(&line);
    }

    fn line(&mut self, line: &[u8]) {
        if line.is_empty() || !matches!(self.judge(line), Line::Wanted) {
            return;
        }
        let Some(json) = line.strip_prefix(b"data:") else { return };
        self.found.end = None;
        self.found.of_a_message = false;
        self.found.of_a_form = false;
        self.found.read(Wanted::Event, json);
        if self.found.learned.task_text.is_none() {
            self.without_task = self.without_task.saturating_add(1);
        }
        self.note_end();
    }

    fn note_end(&mut self) {
        let (outcome, message) =
            (std::mem::take(&mut self.found.outcome), self.found.message.take());
        let failed = matches!(outcome, Outcome::Failed(_));
        self.stopped |= outcome == Outcome::Stopped;
        let said = match outcome {
            Outcome::Failed(why) => Some(why),
            _ => message,
        };
        match said {
            Some(why) if is_stop(&why) => self.stopped = true,
            // An `error` says the same again, of the flow that failed before.
            said => self.failure = self.failure.take().or(said),
        }
        self.ended |= match self.found.end {
            None => false,
            Some(End::Workflow) => {
                self.flow_ended = true;
                !self.found.of_a_message || self.message_ended || failed || self.stopped
            }
            Some(End::Message) => {
                self.message_ended = true;
                self.flow_ended || self.found.learned.workflow_run_id.is_none()
            }
            Some(End::Pause) => self.pauses == Pauses::End,
            Some(End::Other) => true,
        };
    }

    /// Whether a line matters, by its first bytes.
    fn judge(&mut self, line: &[u8]) -> Line {
        let wants_all = self.found.learned.task_text.is_none() && self.without_task < PATIENCE;
        let name = name(line);
        match name {
            Name::Event(b"tts_message") => self.speech = Speech::Begun,
            Name::Event(b"tts_message_end") => self.speech = Speech::Ended,
            _ => {}
        }
        match name {
            Name::Unsure => Line::Unsure,
            Name::NoData => Line::Skipped,
            Name::Event(_) | Name::Elsewhere if wants_all => Line::Wanted,
            Name::Event(event) if !says_something(event) => Line::Skipped,
            Name::Event(_) => Line::Wanted,
            // In another order than Dify's: the name may follow.
            Name::Elsewhere if self.without_task < PATIENCE => Line::Wanted,
            Name::Elsewhere => Line::Skipped,
        }
    }
}

/// Whether an event says something once the task is known.
fn says_something(event: &[u8]) -> bool {
    End::named(event).is_some() || names_a_form(event)
}

/// Whether a piece consists of whole lines that say nothing once the task is known: most of a
/// stream does.
pub fn is_skippable(piece: &[u8]) -> bool {
    let mut rest = piece;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        let says_nothing = line.is_empty()
            || match name(line) {
                Name::NoData => true,
                Name::Event(event) => !says_something(event) && !event.starts_with(b"tts_"),
                Name::Elsewhere | Name::Unsure => false,
            };
        if !says_nothing {
            return false;
        }
        rest = &rest[end + 1..];
    }
    rest.is_empty()
}

/// The name of an event as its line begins with it.
enum Name<'a> {
    Event(&'a [u8]),
    /// Data that does not begin with the name.
    Elsewhere,
    NoData,
    Unsure,
}

/// As Dify 1.5 writes it, as newer versions do, and with any other blanks.
fn name(line: &[u8]) -> Name<'_> {
    let exact = [&b"data: {\"event\": \""[..], b"data: {\"event\":\""];
    let usual = exact.iter().find_map(|start| Some((line.strip_prefix(*start)?, start.len())));
    let (rest, start) = match usual.map_or_else(|| spaced(line), Ok) {
        Ok(begins) => begins,
        Err(name) => return name,
    };
    let head = &rest[..rest.len().min(MAX_HEAD.saturating_sub(start))];
    match memchr(b'"', head) {
        Some(end) if head[..end].contains(&b'\\') => Name::Elsewhere,
        Some(end) => Name::Event(&head[..end]),
        None if rest.len() > head.len() => Name::Elsewhere,
        None => Name::Unsure,
    }
}

/// What follows the quote before an event's name, and how many bytes come before that.
fn spaced(line: &[u8]) -> Result<(&[u8], usize), Name<'_>> {
    let Some(mut rest) = line.strip_prefix(b"data:") else { return Err(not_data(line)) };
    for mark in [&b"{"[..], b"\"event\"", b":", b"\""] {
        rest = rest.trim_ascii_start();
        rest = match rest.strip_prefix(mark) {
            Some(rest) => rest,
            None if mark.starts_with(rest) && line.len() < MAX_HEAD => return Err(Name::Unsure),
            None => return Err(Name::Elsewhere),
        };
    }
    Ok((rest, line.len() - rest.len()))
}

fn not_data(line: &[u8]) -> Name<'static> {
    if b"data:".starts_with(line) { Name::Unsure } else { Name::NoData }
}
