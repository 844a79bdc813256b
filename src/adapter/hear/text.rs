//! The answer's text and the reasoning beside it.

use super::State;
use super::cut::{Cut, Ends};
use super::event::Event;
use super::run::Run;
use super::think::{Piece, Thinking};
use crate::adapter::file_address;
use crate::adapter::mode::Mode;
use crate::adapter::voice::{Finish, Heard};
use crate::model::ai::Reasoning;

/// The most thoughts of an agent that are followed.
const MAX_THOUGHTS: usize = 256;

impl Run {
    pub(super) fn message(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        // Newer agents send the whole answer once more at the end.
        let again = !self.said.is_empty() && (self.mode == Mode::Agent || self.said == text);
        if !again {
            self.answer(text, each);
        }
    }

    pub(super) fn agent_message(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        self.said.push_str(text);
        self.answer(text, each);
    }

    /// A piece of the answer as the model wrote it.
    pub(super) fn answer(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        self.has_text |= !text.is_empty();
        self.model_text(text, each);
    }

    /// The same of what stands in the answer and is not the model's.
    pub(super) fn model_text(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        if text.is_empty() || self.told.finish == Finish::Filtered {
            return;
        }
        let text = &*file_address::within(text, &self.manner.files_base);
        let mut thinking = std::mem::replace(&mut self.thinking, Thinking::off());
        thinking.feed(text, &mut |piece| self.piece(piece, each));
        self.thinking = thinking;
    }

    fn piece(&mut self, piece: Piece<'_>, each: &mut dyn FnMut(Heard)) {
        match piece {
            Piece::Reasoning(text) => self.reasoning(text, each),
            Piece::Answer(text) => {
                if std::mem::take(&mut self.in_think) {
                    self.text("</think>\n\n", each);
                }
                self.text(text, each);
            }
        }
    }

    fn text(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        if self.state != State::Running {
            return;
        }
        let (text, ends) = self.cut.feed(text);
        self.tell(text, each);
        if ends == Ends::Here {
            self.told.finish = Finish::StopText;
            self.state = State::Enough;
        }
    }

    pub(super) fn tell(&mut self, text: String, each: &mut dyn FnMut(Heard)) {
        if !text.is_empty() {
            self.told.text.push_str(&text);
            each(Heard::Text(text));
        }
    }

    pub(super) fn reasoning(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        if text.is_empty() {
            return;
        }
        match self.manner.reasoning {
            Reasoning::Drop => {}
            Reasoning::ReasoningContent => {
                self.told.reasoning.push_str(text);
                each(Heard::Reasoning(text.to_owned()));
            }
            Reasoning::Inline => {
                if !std::mem::replace(&mut self.in_think, true) {
                    self.text("<think>", each);
                }
                self.text(text, each);
            }
        }
    }

    /// A thought is sent again as it fills up, and often repeats what was said as messages.
    pub(super) fn thought(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
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
        if known == 0 && !self.told.reasoning.is_empty() {
            self.reasoning("\n\n", each);
        }
        self.reasoning(new, each);
    }

    /// Everything said so far is void. What has gone out cannot be taken back: a client of a stream
    /// learns by the reason of the end, and of the text itself only if nothing went out.
    pub(super) fn replace(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        self.thinking = Thinking::off();
        self.cut = Cut::new(Vec::new());
        self.has_text = true;
        let text = &*file_address::within(text, &self.manner.files_base);
        match text.strip_prefix(self.told.text.as_str()) {
            Some(rest) => self.tell(rest.to_owned(), each),
            None => text.clone_into(&mut self.told.text),
        }
        self.told.finish = Finish::Filtered;
    }

    /// What was held back is said.
    pub(super) fn flush(&mut self, each: &mut dyn FnMut(Heard)) {
        let mut thinking = std::mem::replace(&mut self.thinking, Thinking::off());
        thinking.end(&mut |piece| self.piece(piece, each));
        if std::mem::take(&mut self.in_think) {
            self.text("</think>", each);
        }
        let held = self.cut.end();
        self.tell(held, each);
    }
}
