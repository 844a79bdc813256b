//! What goes on inside a run, for those who wait for its first word: an agent's steps, iterations and
//! loops. It goes where a protocol has a place for reasoning, and never into the answer.

use super::event::{Event, Node};
use super::lenient::part;
use super::run_decoder::RunDecoder;
use crate::adapter::response_encoder::AppEvent;
use crate::model::ai::Reasoning;

/// The most lines of progress; then there are only signs of life.
const MAX_LINES: usize = 200;
/// The most bytes of a name in one.
const MAX_NAME_BYTES: usize = 200;

impl RunDecoder {
    /// An iteration or a loop begins, goes on or ends. Dify counts items from 0, rounds from 1.
    pub(super) fn round(&mut self, name: &str, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let node: Node<'_> = part(event.data);
        let is_loop = name.starts_with("loop");
        let title = node.title.get().unwrap_or(if is_loop { "Loop" } else { "Iteration" });
        let title = short(title);
        let index = node.index.or_zero();
        let line = match name {
            "iteration_started" | "loop_started" => format!("{title}: started\n"),
            "iteration_next" => format!("{title}: item {}\n", index.saturating_add(1)),
            "loop_next" => format!("{title}: round {index}\n"),
            _ if node.status.get() == Some("failed") => format!("{title}: failed\n"),
            _ => format!("{title}: done\n"),
        };
        self.progress(line, emit);
    }

    /// A step of an agent, told once although it is sent again when it ends.
    pub(super) fn agent_log(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let log: Node<'_> = part(event.data);
        let Some(label) = log.label.get().map(short) else { return emit(AppEvent::Ping) };
        let has_failed = log.status.get() == Some("error");
        let step = log.id.or_empty();
        let is_known = self.steps.iter().any(|known| known == step);
        if !is_known && self.steps.len() < MAX_LINES {
            self.steps.push(step.to_owned());
        }
        match (is_known, has_failed) {
            (_, true) => self.progress(format!("{label}: failed\n"), emit),
            (false, false) => self.progress(format!("{label}\n"), emit),
            (true, false) => emit(AppEvent::Ping),
        }
    }

    /// A node failed and runs again. Text that it has said stays said.
    pub(super) fn node_retry(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let node: Node<'_> = part(event.data);
        let title = node.title.get().map_or("A node", short);
        let error = node.error.get().unwrap_or("it does not say why");
        self.remark(&format!("node {title} runs again: {error}"));
        let line = format!("{title}: trying again ({})\n", node.retry_index.or_zero());
        self.progress(line, emit);
    }

    fn progress(&mut self, line: String, emit: &mut dyn FnMut(AppEvent)) {
        let is_told = self.options.reasoning == Reasoning::ReasoningContent;
        if is_told && !self.has_text && self.lines < MAX_LINES {
            self.lines += 1;
            emit(AppEvent::Progress(line));
        } else {
            emit(AppEvent::Ping);
        }
    }
}

/// A name, cut to what fits into a line.
fn short(name: &str) -> &str {
    let line = name.lines().next().unwrap_or("");
    &line[..line.floor_char_boundary(MAX_NAME_BYTES.min(line.len()))]
}
