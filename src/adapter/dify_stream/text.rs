//! The answer's text and the reasoning beside it.

use super::decode_state::DecodeState;
use super::event::Event;
use super::reasoning::{ReasoningSplitter, Segment};
use super::run_decoder::RunDecoder;
use super::stop_sequences::{StopMatch, StopSequences};
use crate::adapter::file_urls;
use crate::adapter::mode::Mode;
use crate::adapter::response_encoder::{AppEvent, FinishReason};
use crate::model::ai::Reasoning;

/// The most thoughts of an agent that are followed.
const MAX_THOUGHTS: usize = 256;

impl RunDecoder {
    pub(super) fn message(&mut self, text: &str, emit: &mut dyn FnMut(AppEvent)) {
        // Newer agents send the whole answer once more at the end.
        let again = !self.said.is_empty() && (self.mode == Mode::Agent || self.said == text);
        if !again {
            self.answer(text, emit);
        }
    }

    pub(super) fn agent_message(&mut self, text: &str, emit: &mut dyn FnMut(AppEvent)) {
        self.said.push_str(text);
        self.answer(text, emit);
    }

    /// A piece of the answer as the model wrote it.
    pub(super) fn answer(&mut self, text: &str, emit: &mut dyn FnMut(AppEvent)) {
        self.has_text |= !text.is_empty();
        self.model_text(text, emit);
    }

    /// The same of what stands in the answer and is not the model's.
    pub(super) fn model_text(&mut self, text: &str, emit: &mut dyn FnMut(AppEvent)) {
        if text.is_empty() || self.summary.finish == FinishReason::Filtered {
            return;
        }
        let text = &*file_urls::within(text, &self.options.files_base);
        let mut splitter = std::mem::replace(&mut self.splitter, ReasoningSplitter::off());
        splitter.feed(text, &mut |piece| self.piece(piece, emit));
        self.splitter = splitter;
    }

    fn piece(&mut self, piece: Segment<'_>, emit: &mut dyn FnMut(AppEvent)) {
        match piece {
            Segment::Reasoning(text) => self.reasoning(text, emit),
            Segment::Answer(text) => {
                if std::mem::take(&mut self.in_think) {
                    self.text("</think>\n\n", emit);
                }
                self.text(text, emit);
            }
        }
    }

    fn text(&mut self, text: &str, emit: &mut dyn FnMut(AppEvent)) {
        if self.state != DecodeState::Running {
            return;
        }
        let (text, ends) = self.stop.feed(text);
        self.tell(text, emit);
        if ends == StopMatch::Found {
            self.summary.finish = FinishReason::StopSequence;
            self.state = DecodeState::StopReached;
        }
    }

    pub(super) fn tell(&mut self, text: String, emit: &mut dyn FnMut(AppEvent)) {
        if !text.is_empty() {
            self.summary.text.push_str(&text);
            emit(AppEvent::Text(text));
        }
    }

    pub(super) fn reasoning(&mut self, text: &str, emit: &mut dyn FnMut(AppEvent)) {
        if text.is_empty() {
            return;
        }
        match self.options.reasoning {
            Reasoning::Drop => {}
            Reasoning::ReasoningContent => {
                self.summary.reasoning.push_str(text);
                emit(AppEvent::Reasoning(text.to_owned()));
            }
            Reasoning::Inline => {
                if !std::mem::replace(&mut self.in_think, true) {
                    self.text("<think>", emit);
                }
                self.text(text, emit);
            }
        }
    }

    /// A thought is sent again as it fills up, and often repeats what was said as messages.
    pub(super) fn thought(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let thought = event.thought.or_empty().trim();
        let Some(id) = event.id.get() else { return };
        if thought.is_empty() || self.said.contains(thought) {
            return;
        }
        let known = self.thoughts.get(id).copied().unwrap_or(0);
        let Some(new) = thought.get(known..).filter(|new| !new.is_empty()) else { return };
        if known == 0 && self.thoughts.len() >= MAX_THOUGHTS {
            return;
        }
        self.thoughts.insert(id.to_owned(), thought.len());
        if known == 0 && !self.summary.reasoning.is_empty() {
            self.reasoning("\n\n", emit);
        }
        self.reasoning(new, emit);
    }

    /// Everything said so far is void. What has gone out cannot be taken back: a client of a stream
    /// learns by the reason of the end, and of the text itself only if nothing went out.
    pub(super) fn replace(&mut self, text: &str, emit: &mut dyn FnMut(AppEvent)) {
        self.splitter = ReasoningSplitter::off();
        self.stop = StopSequences::new(Vec::new());
        self.has_text = true;
        let text = &*file_urls::within(text, &self.options.files_base);
        match text.strip_prefix(self.summary.text.as_str()) {
            Some(rest) => self.tell(rest.to_owned(), emit),
            None => text.clone_into(&mut self.summary.text),
        }
        self.summary.finish = FinishReason::Filtered;
    }

    /// What was held back is said.
    pub(super) fn flush(&mut self, emit: &mut dyn FnMut(AppEvent)) {
        let mut splitter = std::mem::replace(&mut self.splitter, ReasoningSplitter::off());
        splitter.finish(&mut |piece| self.piece(piece, emit));
        if std::mem::take(&mut self.in_think) {
            self.text("</think>", emit);
        }
        let held = self.stop.finish();
        self.tell(held, emit);
    }
}
