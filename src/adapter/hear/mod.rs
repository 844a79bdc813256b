//! Dify's stream as what an app says, whatever its mode.
//!
//! Each event of Dify goes through as it came: nothing is gathered, paced or waited for. Events that
//! only tell of the inside of a run (nodes, iterations, logs, speech) mean nothing to a client of a
//! door and are passed over.

mod cut;
mod event;
mod files;
mod human_input;
mod lenient;
mod outputs;
mod progress;
mod repair;
mod run;
mod size;
mod text;
mod think;
mod workflow;

#[cfg(test)]
mod tests;

use self::run::Run;
use self::size::MAX_EVENT_BYTES;
use super::mode::Mode;
use super::voice::{Begun, Heard, Told};
use crate::model::ai::{HumanInput, MadeFiles, Reasoning};
use crate::model::{ErrorKind, GatewayError};
use crate::sse::Splitter;

/// How an app's answer is to be told.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// What becomes of reasoning.
    pub reasoning: Reasoning,
    /// What becomes of files that the app makes.
    pub files: MadeFiles,
    /// The workflow's output that is the answer; found by its name or type if none is said.
    pub answer_output: Option<String>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// What becomes of a run that waits for a person.
    pub human_input: HumanInput,
    /// Below which forms have their pages, as `<web_url>/form/<token>`; no slash at the end.
    pub web_url: Option<String>,
    /// What addresses of Dify's files begin with, without a slash at the end; empty: with what Dify says.
    pub files_base: String,
}

/// How far a stream is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// More may come.
    Running,
    /// The answer is whole.
    Over,
    /// The client wants no more of the answer, and the run goes on.
    Enough,
    /// It failed.
    Failed(GatewayError),
}

/// Hears a stream of Dify's to its end.
#[derive(Debug)]
pub struct Hearing {
    mode: Mode,
    form: Form,
    run: Run,
}

/// In which form the answer comes.
#[derive(Debug)]
enum Form {
    /// Nothing has come.
    Unknown,
    /// Events.
    Stream(Splitter),
    /// One JSON text: what stands before Dify may have made a stream one.
    Json(Vec<u8>),
}

impl Hearing {
    /// Before the first byte. `model` is the name that the client used.
    pub fn new(mode: Mode, manner: Manner, model: String) -> Self {
        Self { mode, form: Form::Unknown, run: Run::new(mode, manner, model) }
    }

    /// Which kind of app speaks.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// All that was said so far.
    pub fn told(&self) -> &Told {
        &self.run.told
    }

    /// What is known of the answer since its first event; none before.
    pub fn begun(&self) -> Option<&Begun> {
        self.run.has_begun.then_some(&self.run.begun)
    }

    /// What the log is to know of the run, in Dify's own words: why it failed, which of its nodes did.
    pub fn remarks(&self) -> Option<&str> {
        Some(self.run.remarks.as_str()).filter(|remarks| !remarks.is_empty())
    }

    /// Reads the next piece of the stream. What comes after the end is not heard.
    pub fn feed(&mut self, piece: &[u8], each: &mut dyn FnMut(Heard)) -> &State {
        let run = &mut self.run;
        if run.state != State::Running {
            return &run.state;
        }
        let mut piece = piece;
        if matches!(self.form, Form::Unknown) {
            piece = piece.trim_ascii_start();
            self.form = match piece.first() {
                None => Form::Unknown,
                // No line of an event stream begins so.
                Some(b'{') => Form::Json(Vec::new()),
                Some(_) => Form::Stream(Splitter::new(MAX_EVENT_BYTES)),
            };
        }
        match &mut self.form {
            Form::Unknown => {}
            Form::Stream(splitter) => {
                let limit = |begin: &[u8]| size::limit(self.mode, begin);
                let fed = splitter.feed_within(piece, limit, |event| run.framed(event, each));
                if let (Err(error), State::Running) = (fed, &run.state) {
                    run.broke(&error.to_string(), each);
                }
            }
            Form::Json(json) if json.len() + piece.len() > MAX_EVENT_BYTES => {
                run.broke("it is larger than 32 MiB", each);
            }
            Form::Json(json) => json.extend_from_slice(piece),
        }
        &run.state
    }

    /// The stream has ended.
    pub fn end(&mut self, each: &mut dyn FnMut(Heard)) -> &State {
        let run = &mut self.run;
        if run.state == State::Running {
            match std::mem::replace(&mut self.form, Form::Unknown) {
                Form::Json(json) => run.whole(&json, each),
                Form::Unknown | Form::Stream(_) => run.end(each),
            }
        }
        &run.state
    }
}

fn broken(what: &str) -> State {
    let message = format!("The app's answer broke off: {what}.");
    State::Failed(GatewayError::new(502, ErrorKind::Server, "upstream_error", message).for_good())
}
