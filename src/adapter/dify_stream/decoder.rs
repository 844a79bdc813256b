//! The decoder of one stream: finds out its format, splits it and hands on its events.

use super::decode_state::DecodeState;
use super::event_limits::{self, MAX_EVENT_BYTES};
use super::options::DecodeOptions;
use super::run_decoder::RunDecoder;
use crate::adapter::mode::Mode;
use crate::adapter::response_encoder::{AppEvent, ResponseStart, ResponseSummary};
use crate::sse::Splitter;

/// Decodes one stream of Dify's.
#[derive(Debug)]
pub struct StreamDecoder {
    mode: Mode,
    form: StreamFormat,
    run: RunDecoder,
}

/// In which form the answer comes.
#[derive(Debug)]
enum StreamFormat {
    Unknown,
    Stream(Splitter),
    /// One JSON text: what stands before Dify may have made a stream one.
    Json(Vec<u8>),
}

impl StreamDecoder {
    /// Before the first byte. `model` is the name that the client used.
    pub fn new(mode: Mode, options: DecodeOptions, model: String) -> Self {
        Self { mode, form: StreamFormat::Unknown, run: RunDecoder::new(mode, options, model) }
    }

    /// Which kind of app speaks.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// All that was said so far.
    pub fn summary(&self) -> &ResponseSummary {
        &self.run.summary
    }

    /// What is known of the answer since its first event; none before.
    pub fn response_start(&self) -> Option<&ResponseStart> {
        self.run.has_started.then_some(&self.run.start)
    }

    /// What the log is to know of the run, in Dify's own words: why it failed, which of its nodes did.
    pub fn remarks(&self) -> Option<&str> {
        Some(self.run.remarks.as_str()).filter(|remarks| !remarks.is_empty())
    }

    /// Reads the next piece of the stream. What comes after the end is not heard.
    pub fn feed(&mut self, piece: &[u8], emit: &mut dyn FnMut(AppEvent)) -> &DecodeState {
        let run = &mut self.run;
        if run.state != DecodeState::Running {
            return &run.state;
        }
        let mut piece = piece;
        if matches!(self.form, StreamFormat::Unknown) {
            piece = piece.trim_ascii_start();
            self.form = match piece.first() {
                None => StreamFormat::Unknown,
                // No line of an event stream begins so.
                Some(b'{') => StreamFormat::Json(Vec::new()),
                Some(_) => StreamFormat::Stream(Splitter::new(MAX_EVENT_BYTES)),
            };
        }
        match &mut self.form {
            StreamFormat::Unknown => {}
            StreamFormat::Stream(splitter) => {
                let limit = |begin: &[u8]| event_limits::limit(self.mode, begin);
                let fed = splitter.feed_within(piece, limit, |event| run.framed(event, emit));
                if let (Err(error), DecodeState::Running) = (fed, &run.state) {
                    run.broke(&error.to_string(), emit);
                }
            }
            StreamFormat::Json(json) if json.len() + piece.len() > MAX_EVENT_BYTES => {
                run.broke("it is larger than 32 MiB", emit);
            }
            StreamFormat::Json(json) => json.extend_from_slice(piece),
        }
        &run.state
    }

    /// The stream has ended.
    pub fn finish(&mut self, emit: &mut dyn FnMut(AppEvent)) -> &DecodeState {
        let run = &mut self.run;
        if run.state == DecodeState::Running {
            match std::mem::replace(&mut self.form, StreamFormat::Unknown) {
                StreamFormat::Json(json) => run.json_body(&json, emit),
                StreamFormat::Unknown | StreamFormat::Stream(_) => run.finish(emit),
            }
        }
        &run.state
    }
}
