//! What a stream has said so far: each event, and how it ends.

use std::collections::HashMap;

use super::cut::Cut;
use super::event::{Chunk, Counts, Event, Metadata, Workflow};
use super::lenient::{items, part};
use super::outputs::source;
use super::repair::repaired;
use super::size::{MAX_ANSWER_BYTES, counts};
use super::think::Thinking;
use super::workflow::{is_stop, run_failed, usage};
use super::{Manner, State, broken};
use crate::adapter::mode::Mode;
use crate::adapter::voice::{Begun, Heard, Told};
use crate::dify::answer::Usage;
use crate::model::GatewayError;
use crate::model::ai::Reasoning;
use crate::sse;

/// The most bytes of what the log is to know.
const MAX_REMARKS_BYTES: usize = 2048;

/// What runs a flow, which decides how its stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// There is none, as far as is known.
    Unknown,
    /// Dify's API, up to 1.12: `workflow_finished`, then `message_end` or `error`.
    InApi,
    /// Dify's worker, since 1.13: `message_end` unless it failed or was stopped, then
    /// `workflow_finished`.
    InWorker,
}

/// What a stream has said so far.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) mode: Mode,
    pub(super) manner: Manner,
    pub(super) begun: Begun,
    pub(super) has_begun: bool,
    pub(super) told: Told,
    pub(super) thinking: Thinking,
    pub(super) cut: Cut,
    /// What an agent said as messages, reasoning included.
    pub(super) said: String,
    /// How many bytes of each thought were told.
    pub(super) thoughts: HashMap<String, usize>,
    /// Steps of an agent that were told.
    pub(super) steps: Vec<String>,
    /// Lines of progress that were told.
    pub(super) lines: usize,
    /// Files that were told, without the signature of their address.
    pub(super) files: Vec<String>,
    /// Inline reasoning is open.
    pub(super) in_think: bool,
    /// A piece of the answer came.
    pub(super) has_text: bool,
    pub(super) flow: Flow,
    pub(super) message_ended: bool,
    pub(super) workflow_ended: bool,
    /// What a chatflow said of its failure.
    pub(super) failure: Option<String>,
    /// What the model calls of a workflow used.
    pub(super) nodes: Usage,
    /// What the log is to know.
    pub(super) remarks: String,
    pub(super) state: State,
}

impl Run {
    pub(super) fn new(mode: Mode, manner: Manner, model: String) -> Self {
        Self {
            mode,
            thinking: match manner.reasoning {
                Reasoning::Inline => Thinking::off(),
                _ => Thinking::new(),
            },
            cut: Cut::new(manner.stop.clone()),
            manner,
            begun: Begun { model, ..Begun::default() },
            has_begun: false,
            told: Told::default(),
            said: String::new(),
            thoughts: HashMap::new(),
            steps: Vec::new(),
            lines: 0,
            files: Vec::new(),
            in_think: false,
            has_text: false,
            flow: Flow::Unknown,
            message_ended: false,
            workflow_ended: false,
            failure: None,
            nodes: Usage::default(),
            remarks: String::new(),
            state: State::Running,
        }
    }

    /// An event of a stream.
    pub(super) fn framed(&mut self, event: sse::Event<'_>, each: &mut dyn FnMut(Heard)) {
        if self.state != State::Running {
            return;
        }
        let Some(data) = event.data else { return each(Heard::StillRunning) };
        let read = with_json(data, |event| self.event(event, each));
        // An event that is none of Dify's is no reason to break the answer off.
        let head = &data[..data.len().min(4096)];
        if read.is_none() && counts(self.mode, &[b"data:", head].concat()) {
            self.broke("an event of it cannot be read", each);
        }
        if self.told.text.len() + self.told.reasoning.len() > MAX_ANSWER_BYTES {
            self.state = broken("it is larger than 16 MiB");
        }
    }

    /// An answer that came as one JSON text although a stream was asked for.
    pub(super) fn whole(&mut self, json: &[u8], each: &mut dyn FnMut(Heard)) {
        let read = with_json(json, |event| {
            self.begin(event);
            let is_error = event.code.get().is_some() && event.message.get().is_some();
            let run: Workflow<'_> = part(event.data);
            match event.event.or_empty() {
                "workflow_paused" => self.paused(&run, each),
                "error" => self.error(event, each),
                _ if is_error => self.error(event, each),
                _ if run.status.get() == Some("paused") => self.paused(&run, each),
                _ if self.mode != Mode::Workflow && event.answer.is_there() => {
                    self.answer(event.answer.or_empty(), each);
                    self.message_end(event, each);
                }
                _ if event.data.is_some() => {
                    self.workflow_finished(event, each);
                    if self.state == State::Running {
                        self.end(each);
                    }
                }
                _ => {}
            }
        });
        if read.is_none() || self.state == State::Running {
            self.state = broken("it is neither a stream nor an answer of Dify's");
        }
    }

    fn event(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
        self.begin(event);
        match event.event.or_empty() {
            "message" => self.message(event.answer.or_empty(), each),
            "agent_message" => self.agent_message(event.answer.or_empty(), each),
            "agent_thought" => self.thought(event, each),
            "message_replace" => self.replace(event.answer.or_empty(), each),
            "message_file" => self.message_file(event, each),
            "message_end" => self.message_end(event, each),
            // Of several outputs the pieces come one after the other, and none says of which it is:
            // where one output is the answer, it comes whole at the end.
            "text_chunk" if self.manner.answer_output.is_none() => {
                let chunk: Chunk<'_> = part(event.data);
                self.answer(chunk.text.or_empty(), each);
            }
            "text_replace" => {
                let chunk: Chunk<'_> = part(event.data);
                self.replace(chunk.text.or_empty(), each);
            }
            "reasoning_chunk" => {
                let chunk: Chunk<'_> = part(event.data);
                self.reasoning(chunk.reasoning.or_empty(), each);
            }
            "workflow_started" => self.workflow_started(event),
            "node_finished" if self.mode == Mode::Workflow => self.node_finished(event),
            "node_retry" => self.node_retry(event, each),
            "agent_log" => self.agent_log(event, each),
            name @ ("iteration_started"
            | "iteration_next"
            | "iteration_completed"
            | "loop_started"
            | "loop_next"
            | "loop_completed") => self.round(name, event, each),
            "human_input_required" => self.human_input_required(event),
            "workflow_finished" => self.workflow_finished(event, each),
            "workflow_paused" => {
                let run: Workflow<'_> = part(event.data);
                self.paused(&run, each);
            }
            "error" => self.error(event, each),
            _ => {}
        }
    }

    fn begin(&mut self, event: &Event<'_>) {
        if self.begun.conversation.is_none() {
            self.begun.conversation = event.conversation_id.owned();
        }
        if self.has_begun {
            return;
        }
        let named = event.message_id.get().or(event.workflow_run_id.get());
        // An answer is told even if its message is not named.
        let says = matches!(
            event.event.or_empty(),
            "message" | "agent_message" | "message_replace" | "text_chunk" | "message_end"
        );
        let other = || event.task_id.get().filter(|_| says).or(says.then_some("0"));
        let Some(id) = named.or_else(other) else { return };
        self.begun.id = id.to_owned();
        let created = || part::<Workflow<'_>>(event.data).created_at.get();
        self.begun.created_s = event.created_at.get().or_else(created).unwrap_or(0);
        self.has_begun = true;
    }

    fn message_end(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
        let metadata: Metadata<'_> = part(event.metadata);
        self.told.usage = metadata.usage.map(|counts| usage(part::<Counts>(Some(counts))));
        self.files_of_message(event, each);
        let sources: Vec<_> = items(metadata.retriever_resources).into_iter().map(source).collect();
        if !sources.is_empty() {
            self.told.sources.clone_from(&sources);
            each(Heard::Sources(sources));
        }
        self.message_ended = true;
        // Of a chatflow either end may come first. An annotation or a moderation answers without any
        // flow.
        let flow_ended = self.workflow_ended || self.flow == Flow::Unknown;
        if self.mode != Mode::AdvancedChat || flow_ended {
            self.state = self.over(each);
        }
    }

    fn error(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
        let (code, message) = (event.code.or_empty(), event.message.get());
        let status = event.status.get().and_then(|status| u16::try_from(status).ok());
        let status = status.unwrap_or(500);
        if is_stop(message.unwrap_or_default()) {
            self.state = self.over(each);
            return;
        }
        self.remark(&format!("Dify: {status} {code}: {}", message.unwrap_or("no message")));
        if self.message_ended {
            self.state = self.over(each);
            return;
        }
        self.fail(GatewayError::of_dify(status, code, message.unwrap_or("The run failed.")));
    }

    /// The stream has ended.
    pub(super) fn end(&mut self, each: &mut dyn FnMut(Heard)) {
        if self.workflow_ended {
            self.state = self.over(each);
        } else if let Some(why) = self.failure.take() {
            self.fail(run_failed(&why));
        } else {
            self.broke("the stream ended before the answer did", each);
        }
    }

    /// The stream broke off, which does not undo an answer that is whole.
    pub(super) fn broke(&mut self, what: &str, each: &mut dyn FnMut(Heard)) {
        self.state = if self.message_ended { self.over(each) } else { broken(what) };
    }

    /// Dify has accepted the run, so nobody may repeat the request.
    pub(super) fn fail(&mut self, error: GatewayError) {
        self.state = State::Failed(error.for_good());
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
    pub(super) fn over(&mut self, each: &mut dyn FnMut(Heard)) -> State {
        self.flush(each);
        match self.state {
            State::Running => State::Over,
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
