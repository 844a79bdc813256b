//! Dify's stream as what an app says, whatever its mode.

use super::call::Mode;
use super::fault::Fault;
use super::voice::{Begun, Source, Told};

/// One thing that an app says.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The next piece of the answer. Never empty.
    Text(String),
    /// The next piece of reasoning. Never empty.
    Reasoning(String),
    /// Documents that the answer rests on.
    Sources(Vec<Source>),
    /// Nothing yet: Dify's ping.
    StillRunning,
}

/// Hears a stream of Dify's to its end.
#[derive(Debug)]
pub struct Hearing {
    mode: Mode,
    told: Told,
}

/// How far a stream is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// More may come.
    Running,
    /// The run is over, and the answer whole.
    Over,
    /// It failed.
    Failed(Fault),
}

impl Hearing {
    /// Before the first byte.
    pub fn new(mode: Mode) -> Self {
        Self { mode, told: Told::default() }
    }

    /// Which kind of app speaks.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// All that was said so far.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// What is known of the answer since its first event; none before.
    pub fn begun(&self) -> Option<&Begun> {
        None
    }

    /// Reads the next piece of the stream.
    pub fn feed(&mut self, _piece: &[u8], _each: &mut dyn FnMut(Heard)) -> State {
        State::Running
    }
}
