//! Dify's stream as what an app says, whatever its mode.
//!
//! Each event of Dify goes through as it came: nothing is gathered, paced or waited for. Events that
//! only tell of the inside of a run (nodes, iterations, logs, speech) mean nothing to a client of a
//! door and are passed over.

mod cut;
mod event;
mod outputs;
mod think;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use self::cut::{Cut, Ends};
use self::event::{Chunk, Event, MadeFile, Metadata, Node, Workflow, part};
use self::outputs::{output, source};
use self::think::{Piece, Thinking};
use super::markdown;
use super::mode::Mode;
use super::voice::{Begun, Finish, Heard, Told};
use crate::dify::answer::Usage;
use crate::model::doors::{MadeFiles, Reasoning};
use crate::model::{ErrorKind, GatewayError};
use crate::sse::{self, Splitter};

/// The most bytes of one event: those of a node carry all its inputs and outputs.
const MAX_EVENT_BYTES: usize = 8 << 20;
/// The most bytes of an answer and its reasoning.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// The most thoughts of an agent that are followed.
const MAX_THOUGHTS: usize = 256;

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
    splitter: Splitter,
    run: Run,
}

/// What a stream has said so far.
#[derive(Debug)]
struct Run {
    mode: Mode,
    manner: Manner,
    begun: Begun,
    has_begun: bool,
    told: Told,
    thinking: Thinking,
    cut: Cut,
    /// What an agent said as messages, reasoning included.
    said: String,
    /// How many bytes of each thought were told.
    thoughts: HashMap<String, usize>,
    /// Inline reasoning is open.
    in_think: bool,
    /// A piece of the answer came.
    has_text: bool,
    message_ended: bool,
    workflow_ended: bool,
    /// What a chatflow said of its failure.
    failure: Option<String>,
    /// What the model calls of a workflow used.
    nodes: Usage,
    state: State,
}

impl Hearing {
    /// Before the first byte. `model` is the name that the client used.
    pub fn new(mode: Mode, manner: Manner, model: String) -> Self {
        let run = Run {
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
            in_think: false,
            has_text: false,
            message_ended: false,
            workflow_ended: false,
            failure: None,
            nodes: Usage::default(),
            state: State::Running,
        };
        Self { mode, splitter: Splitter::new(MAX_EVENT_BYTES), run }
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

    /// Reads the next piece of the stream. What comes after the end is not heard.
    pub fn feed(&mut self, piece: &[u8], each: &mut dyn FnMut(Heard)) -> &State {
        let run = &mut self.run;
        let fed = self.splitter.feed(piece, |event| run.event(event, each));
        if let (Err(error), State::Running) = (fed, &self.run.state) {
            self.run.state = broken(&error.to_string());
        }
        &self.run.state
    }

    /// The stream has ended.
    pub fn end(&mut self, each: &mut dyn FnMut(Heard)) -> &State {
        let run = &mut self.run;
        if run.state == State::Running {
            if run.message_ended || run.workflow_ended {
                run.state = run.over(each);
            } else if let Some(what) = run.failure.take() {
                // As Dify says it of a blocking run, and up to 1.12 in an event of its own.
                run.fail(GatewayError::of_dify(
                    400,
                    "invalid_param",
                    &format!("Run failed: {what}"),
                ));
            } else {
                run.state = broken("the stream ended before the answer did");
            }
        }
        &self.run.state
    }
}

fn broken(what: &str) -> State {
    let message = format!("The app's answer broke off: {what}.");
    State::Failed(GatewayError::new(502, ErrorKind::Server, "upstream_error", message).for_good())
}

impl Run {
    fn event(&mut self, event: sse::Event<'_>, each: &mut dyn FnMut(Heard)) {
        if self.state != State::Running {
            return;
        }
        let Some(data) = event.data else { return each(Heard::StillRunning) };
        // An event that is none of Dify's is no reason to break the answer off.
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return };
        self.begin(&event);
        match event.event.as_ref() {
            "message" => self.message(event.answer.as_deref().unwrap_or(""), each),
            "agent_message" => {
                let text = event.answer.as_deref().unwrap_or("");
                self.said.push_str(text);
                self.answer(text, each);
            }
            "agent_thought" => self.thought(&event, each),
            "message_replace" => self.replace(event.answer.as_deref().unwrap_or(""), each),
            "message_file" if event.belongs_to.as_deref() != Some("user") => {
                let url = event.url.as_deref().map(str::to_owned);
                let kind = event.kind.as_deref().map(str::to_owned);
                self.file(&MadeFile { url, kind, filename: None }, each);
            }
            "message_end" => self.message_end(&event, each),
            // Of several outputs the pieces come one after the other, and none says of which it is:
            // where one output is the answer, it comes whole at the end.
            "text_chunk" if self.manner.answer_output.is_none() => {
                let chunk: Chunk = part(event.data);
                self.answer(chunk.text.as_deref().unwrap_or(""), each);
            }
            "text_replace" => {
                let chunk: Chunk = part(event.data);
                self.replace(chunk.text.as_deref().unwrap_or(""), each);
            }
            "reasoning_chunk" => {
                let chunk: Chunk = part(event.data);
                self.reasoning(chunk.reasoning.as_deref().unwrap_or(""), each);
            }
            "node_finished" if self.mode == Mode::Workflow => self.node_finished(&event),
            "workflow_finished" => self.workflow_finished(&event, each),
            "workflow_paused" => {
                let message = "The app waits for a person, which cannot be told over this API.";
                self.fail(GatewayError::new(
                    502,
                    ErrorKind::Server,
                    "human_input_required",
                    message,
                ));
            }
            "error" => {
                let (code, message) = (event.code.as_deref(), event.message.as_deref());
                let status = event.status.unwrap_or(500);
                let (code, message) = (code.unwrap_or(""), message.unwrap_or("The run failed."));
                self.fail(GatewayError::of_dify(status, code, message));
            }
            _ => {}
        }
        if self.told.text.len() + self.told.reasoning.len() > MAX_ANSWER_BYTES {
            self.state = broken("it is larger than 16 MiB");
        }
    }

    /// Dify has accepted the run, so nobody may repeat the request.
    fn fail(&mut self, fault: GatewayError) {
        self.state = State::Failed(fault.for_good());
    }

    fn begin(&mut self, event: &Event<'_>) {
        if self.has_begun {
            return;
        }
        let Some(id) = event.message_id.as_ref().or(event.workflow_run_id.as_ref()) else { return };
        self.begun.id = id.to_string();
        self.begun.conversation = event.conversation_id.as_ref().map(ToString::to_string);
        let created = || part::<Workflow>(event.data).created_at;
        self.begun.created_s = event.created_at.or_else(created).unwrap_or(0);
        self.has_begun = true;
    }

    fn message(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        // Newer agents send the whole answer once more at the end.
        let again = !self.said.is_empty() && (self.mode == Mode::Agent || self.said == text);
        if !again {
            self.answer(text, each);
        }
    }

    /// A piece of the answer as the model wrote it.
    fn answer(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        if text.is_empty() || self.told.finish == Finish::Filtered {
            return;
        }
        self.has_text = true;
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

    fn tell(&mut self, text: String, each: &mut dyn FnMut(Heard)) {
        if !text.is_empty() {
            self.told.text.push_str(&text);
            each(Heard::Text(text));
        }
    }

    fn reasoning(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
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
    fn thought(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
        let thought = event.thought.as_deref().unwrap_or("").trim();
        let Some(id) = event.id.as_deref() else { return };
        if thought.is_empty() || self.said.contains(thought) {
            return;
        }
        let known = self.thoughts.get(id).copied().unwrap_or(0);
        let Some(new) = thought.get(known..).filter(|new| !new.is_empty()) else { return };
        if known == 0 && self.thoughts.len() >= MAX_THOUGHTS {
            return;
        }
        self.thoughts.insert(id.to_owned(), thought.len());
        let new = new.to_owned();
        if known == 0 && !self.told.reasoning.is_empty() {
            self.reasoning("\n\n", each);
        }
        self.reasoning(&new, each);
    }

    /// Everything said so far is void. What has gone out cannot be taken back: a client of a stream
    /// learns by the reason of the end, and of the text itself only if nothing went out.
    fn replace(&mut self, text: &str, each: &mut dyn FnMut(Heard)) {
        self.thinking = Thinking::off();
        self.cut = Cut::new(Vec::new());
        match text.strip_prefix(self.told.text.as_str()) {
            Some(rest) => self.tell(rest.to_owned(), each),
            None => text.clone_into(&mut self.told.text),
        }
        self.told.finish = Finish::Filtered;
    }

    fn file(&mut self, file: &MadeFile, each: &mut dyn FnMut(Heard)) {
        let (Some(url), MadeFiles::Markdown) = (&file.url, self.manner.files) else { return };
        let link = markdown::file(file.kind.as_deref(), file.filename.as_deref(), url);
        let gap = if self.told.text.is_empty() { "" } else { "\n\n" };
        self.answer(&format!("{gap}{link}"), each);
    }

    fn message_end(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
        let metadata: Metadata = part(event.metadata);
        self.told.usage = metadata.usage.map(|counts| Usage {
            prompt_tokens: counts.prompt_tokens,
            completion_tokens: counts.completion_tokens,
            total_tokens: counts.total_tokens,
        });
        let files: Option<Vec<MadeFile>> = part(event.files);
        for file in files.unwrap_or_default() {
            self.file(&file, each);
        }
        let sources: Vec<_> =
            metadata.retriever_resources.unwrap_or_default().into_iter().map(source).collect();
        if !sources.is_empty() {
            self.told.sources.clone_from(&sources);
            each(Heard::Sources(sources));
        }
        self.message_ended = true;
        // Of a chatflow either end may come first.
        if self.mode != Mode::AdvancedChat || self.workflow_ended {
            self.state = self.over(each);
        }
    }

    fn node_finished(&mut self, event: &Event<'_>) {
        let node: Node = part(event.data);
        if node.node_type.as_deref() != Some("llm") {
            return;
        }
        let used = [node.process_data, node.outputs].into_iter().flatten();
        if let Some(counts) = used.filter_map(|used| used.usage).next() {
            self.nodes.prompt_tokens += counts.prompt_tokens;
            self.nodes.completion_tokens += counts.completion_tokens;
        }
    }

    fn workflow_finished(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
        let workflow: Workflow = part(event.data);
        let failed = workflow.status.as_deref() == Some("failed");
        if self.mode != Mode::Workflow {
            // Up to 1.12 an event follows a failed one that says of what kind the failure is.
            self.workflow_ended = !failed;
            self.failure = workflow.error.filter(|_| failed);
            if self.message_ended && !failed {
                self.state = self.over(each);
            }
            return;
        }
        if failed {
            let what = workflow.error.unwrap_or_else(|| "it does not say why".to_owned());
            let message = format!("The workflow failed: {what}");
            return self.fail(GatewayError::new(
                502,
                ErrorKind::Server,
                "upstream_run_failed",
                message,
            ));
        }
        self.told.usage = Some(self.workflow_usage(workflow.total_tokens.unwrap_or(0)));
        if !self.has_text {
            let name = self.manner.answer_output.as_deref();
            let answer = output(workflow.outputs.as_ref(), name).unwrap_or_default();
            self.answer(&answer, each);
        }
        for file in workflow.files.unwrap_or_default() {
            self.file(&file, each);
        }
        self.workflow_ended = true;
        self.state = self.over(each);
    }

    /// Dify says only the total; its model calls may say the rest.
    fn workflow_usage(&self, total_tokens: u64) -> Usage {
        let Usage { prompt_tokens, completion_tokens, .. } = self.nodes;
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: total_tokens.max(prompt_tokens + completion_tokens),
        }
    }

    /// The end: what was held back is said.
    fn over(&mut self, each: &mut dyn FnMut(Heard)) -> State {
        let mut thinking = std::mem::replace(&mut self.thinking, Thinking::off());
        thinking.end(&mut |piece| self.piece(piece, each));
        if std::mem::take(&mut self.in_think) {
            self.text("</think>", each);
        }
        let held = self.cut.end();
        self.tell(held, each);
        match self.state {
            State::Running => State::Over,
            ref ended => ended.clone(),
        }
    }
}
