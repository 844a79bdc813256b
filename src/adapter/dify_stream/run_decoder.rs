//! What a stream has said so far: each event, and how it ends.

use std::collections::HashMap;

use super::decode_state::DecodeState;
use super::event::{Chunk, Counts, Event, Metadata, Workflow};
use super::event_limits::{MAX_ANSWER_BYTES, counts};
use super::json_repair::repaired;
use super::lenient::{items, part};
use super::options::DecodeOptions;
use super::outputs::source;
use super::reasoning::ReasoningSplitter;
use super::run_error::{is_stop, run_failed};
use super::stop_sequences::StopSequences;
use super::usage::usage;
use crate::adapter::mode::Mode;
use crate::adapter::response_encoder::{AppEvent, ResponseStart, ResponseSummary};
use crate::dify::response_body::Usage;
use crate::model::GatewayError;
use crate::model::ai::Reasoning;
use crate::sse;

/// The most bytes of what the log is to know.
const MAX_REMARKS_BYTES: usize = 2048;

/// What runs a flow, which decides how its stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowHost {
    /// There is none, as far as is known.
    Unknown,
    /// Dify's API, up to 1.12: `workflow_finished`, then `message_end` or `error`.
    Api,
    /// Dify's worker, since 1.13: `message_end` unless it failed or was stopped, then
    /// `workflow_finished`.
    Worker,
}

/// What a stream has said so far.
#[derive(Debug)]
pub(super) struct RunDecoder {
    pub(super) mode: Mode,
    pub(super) options: DecodeOptions,
    pub(super) start: ResponseStart,
    pub(super) has_started: bool,
    pub(super) summary: ResponseSummary,
    pub(super) splitter: ReasoningSplitter,
    pub(super) stop: StopSequences,
    /// What an agent said as messages, reasoning included.
    pub(super) said: String,
    /// How many bytes of each thought were sent.
    pub(super) thoughts: HashMap<String, usize>,
    /// Steps of an agent that were sent.
    pub(super) steps: Vec<String>,
    /// Lines of progress that were sent.
    pub(super) lines: usize,
    /// Files that were sent, without the signature of their address.
    pub(super) files: Vec<String>,
    /// Inline reasoning is open.
    pub(super) in_think: bool,
    /// A piece of the answer came.
    pub(super) has_text: bool,
    pub(super) flow: FlowHost,
    pub(super) message_ended: bool,
    pub(super) workflow_ended: bool,
    /// What a chatflow said of its failure.
    pub(super) failure: Option<String>,
    /// What the model calls of a workflow used.
    pub(super) nodes: Usage,
    /// What the log is to know.
    pub(super) remarks: String,
    pub(super) state: DecodeState,
}

impl RunDecoder {
    pub(super) fn new(mode: Mode, options: DecodeOptions, model: String) -> Self {
        Self {
            mode,
            splitter: match options.reasoning {
                Reasoning::Inline => ReasoningSplitter::off(),
                _ => ReasoningSplitter::new(),
            },
            stop: StopSequences::new(options.stop.clone()),
            options,
            start: ResponseStart { model, ..ResponseStart::default() },
            has_started: false,
            summary: ResponseSummary::default(),
            said: String::new(),
            thoughts: HashMap::new(),
            steps: Vec::new(),
            lines: 0,
            files: Vec::new(),
            in_think: false,
            has_text: false,
            flow: FlowHost::Unknown,
            message_ended: false,
            workflow_ended: false,
            failure: None,
            nodes: Usage::default(),
            remarks: String::new(),
            state: DecodeState::Running,
        }
    }

    pub(super) fn framed(&mut self, event: sse::Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        if self.state != DecodeState::Running {
            return;
        }
        let Some(data) = event.data else { return emit(AppEvent::Ping) };
        let read = with_json(data, |event| self.event(event, emit));
        // An event that is none of Dify's is no reason to break the answer off.
        let head = &data[..data.len().min(4096)];
        if read.is_none() && counts(self.mode, &[b"data:", head].concat()) {
            self.broke("an event of it cannot be read", emit);
        }
        if self.summary.text.len() + self.summary.reasoning.len() > MAX_ANSWER_BYTES {
            self.state = DecodeState::truncated("it is larger than 16 MiB");
        }
    }

    /// An answer that came as one JSON text although a stream was asked for.
    pub(super) fn json_body(&mut self, json: &[u8], emit: &mut dyn FnMut(AppEvent)) {
        let read = with_json(json, |event| {
            self.start(event);
            let is_error = event.code.get().is_some() && event.message.get().is_some();
            let run: Workflow<'_> = part(event.data);
            match event.event.or_empty() {
                "workflow_paused" => self.paused(&run, emit),
                "error" => self.error(event, emit),
                _ if is_error => self.error(event, emit),
                _ if run.status.get() == Some("paused") => self.paused(&run, emit),
                _ if self.mode != Mode::Workflow && event.answer.is_there() => {
                    self.answer(event.answer.or_empty(), emit);
                    self.message_end(event, emit);
                }
                _ if event.data.is_some() => {
                    self.workflow_finished(event, emit);
                    if self.state == DecodeState::Running {
                        self.finish(emit);
                    }
                }
                _ => {}
            }
        });
        if read.is_none() || self.state == DecodeState::Running {
            self.state = DecodeState::truncated("it is neither a stream nor an answer of Dify's");
        }
    }

    fn event(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        self.start(event);
        match event.event.or_empty() {
            "message" => self.message(event.answer.or_empty(), emit),
            "agent_message" => self.agent_message(event.answer.or_empty(), emit),
            "agent_thought" => self.thought(event, emit),
            "message_replace" => self.replace(event.answer.or_empty(), emit),
            "message_file" => self.message_file(event, emit),
            "message_end" => self.message_end(event, emit),
            // Of several outputs the pieces come one after the other, and none says of which it is:
            // where one output is the answer, it comes whole at the end.
            "text_chunk" if self.options.answer_output.is_none() => {
                let chunk: Chunk<'_> = part(event.data);
                self.answer(chunk.text.or_empty(), emit);
            }
            "text_replace" => {
                let chunk: Chunk<'_> = part(event.data);
                self.replace(chunk.text.or_empty(), emit);
            }
            "reasoning_chunk" => {
                let chunk: Chunk<'_> = part(event.data);
                self.reasoning(chunk.reasoning.or_empty(), emit);
            }
            "workflow_started" => self.workflow_started(event),
            "node_finished" if self.mode == Mode::Workflow => self.node_finished(event),
            "node_retry" => self.node_retry(event, emit),
            "agent_log" => self.agent_log(event, emit),
            name @ ("iteration_started"
            | "iteration_next"
            | "iteration_completed"
            | "loop_started"
            | "loop_next"
            | "loop_completed") => self.round(name, event, emit),
            "human_input_required" => self.human_input_required(event),
            "workflow_finished" => self.workflow_finished(event, emit),
            "workflow_paused" => {
                let run: Workflow<'_> = part(event.data);
                self.paused(&run, emit);
            }
            "error" => self.error(event, emit),
            _ => {}
        }
    }

    fn start(&mut self, event: &Event<'_>) {
        if self.start.conversation.is_none() {
            self.start.conversation = event.conversation_id.owned();
        }
        if self.has_started {
            return;
        }
        let named = event.message_id.get().or(event.workflow_run_id.get());
        // An answer is sent even if its message is not named.
        let says = matches!(
            event.event.or_empty(),
            "message" | "agent_message" | "message_replace" | "text_chunk" | "message_end"
        );
        let other = || event.task_id.get().filter(|_| says).or(says.then_some("0"));
        let Some(id) = named.or_else(other) else { return };
        self.start.id = id.to_owned();
        let created = || part::<Workflow<'_>>(event.data).created_at.get();
        self.start.created_s = event.created_at.get().or_else(created).unwrap_or(0);
        self.has_started = true;
    }

    fn message_end(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let metadata: Metadata<'_> = part(event.metadata);
        self.summary.usage = metadata.usage.map(|counts| usage(part::<Counts>(Some(counts))));
        self.files_of_message(event, emit);
        let sources: Vec<_> = items(metadata.retriever_resources).into_iter().map(source).collect();
        if !sources.is_empty() {
            self.summary.sources.clone_from(&sources);
            emit(AppEvent::Sources(sources));
        }
        self.message_ended = true;
        // Of a chatflow either end may come first. An annotation or a moderation answers without any
        // flow.
        let flow_ended = self.workflow_ended || self.flow == FlowHost::Unknown;
        if self.mode != Mode::AdvancedChat || flow_ended {
            self.state = self.over(emit);
        }
    }

    fn error(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let (code, message) = (event.code.or_empty(), event.message.get());
        let status = event.status.get().and_then(|status| u16::try_from(status).ok());
        let status = status.unwrap_or(500);
        if is_stop(message.unwrap_or_default()) {
            self.state = self.over(emit);
            return;
        }
        self.remark(&format!("Dify: {status} {code}: {}", message.unwrap_or("no message")));
        if self.message_ended {
            self.state = self.over(emit);
            return;
        }
        self.fail(GatewayError::of_dify(status, code, message.unwrap_or("The run failed.")));
    }

    pub(super) fn finish(&mut self, emit: &mut dyn FnMut(AppEvent)) {
        if self.workflow_ended {
            self.state = self.over(emit);
        } else if let Some(why) = self.failure.take() {
            self.fail(run_failed(&why));
        } else {
            self.broke("the stream ended before the answer did", emit);
        }
    }

    /// The stream broke off, which does not undo an answer that is whole.
    pub(super) fn broke(&mut self, what: &str, emit: &mut dyn FnMut(AppEvent)) {
        self.state =
            if self.message_ended { self.over(emit) } else { DecodeState::truncated(what) };
    }

    /// Dify has accepted the run, so nobody may repeat the request.
    pub(super) fn fail(&mut self, error: GatewayError) {
        self.state = DecodeState::Failed(error.for_good());
    }

    /// The log is to know this.
    pub(super) fn remark(&mut self, what: &str) {
        let gap = if self.remarks.is_empty() { "" } else { "; " };
        let room = MAX_REMARKS_BYTES.saturating_sub(self.remarks.len() + gap.len());
        if room > 0 {
            self.remarks.push_str(gap);
            self.remarks.push_str(&what[..what.floor_char_boundary(room.min(what.len()))]);
        }
    }

    /// The end: what was held back is said.
    pub(super) fn over(&mut self, emit: &mut dyn FnMut(AppEvent)) -> DecodeState {
        self.flush(emit);
        match self.state {
            DecodeState::Running => DecodeState::Finished,
            ref ended => ended.clone(),
        }
    }
}

/// Reads an event; none if it is no JSON object.
fn with_json(data: &[u8], read: impl FnOnce(&Event<'_>)) -> Option<()> {
    if let Ok(event) = serde_json::from_slice::<Event<'_>>(data) {
        read(&event);
    } else {
        read(&serde_json::from_slice(&repaired(data)?).ok()?);
    }
    Some(())
}
