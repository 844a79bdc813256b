//! One run: its ids, its rows in the data, and the texts all its events share.

use super::files::{self, Attached};
use super::nodes::{Finish, Node, seconds};
use super::{model, usage};
use crate::app::{Flow, Mode};
use crate::db::{Conversation, Message};
use crate::pyjson;
use crate::ran::{Ran, RunEnd};
use crate::state::{AppState, Shared, now};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// What a request asks for.
pub(crate) struct Ask {
    pub(crate) user: String,
    pub(crate) query: String,
    /// The fields of the input form, in its order.
    pub(crate) inputs: Value,
    /// The inputs as sent, with what the form does not know.
    pub(crate) sent_inputs: Value,
    /// Files given with it.
    pub(crate) files: Vec<Attached>,
    /// The conversation to go on with.
    pub(crate) conversation: Option<Uuid>,
    pub(crate) auto_generate_name: bool,
    pub(crate) streamed: bool,
}

pub(crate) struct Turn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) app: Arc<AppState>,
    pub(crate) user: String,
    pub(crate) user_id: Uuid,
    pub(crate) query: String,
    pub(crate) inputs: Value,
    pub(crate) files: Vec<Attached>,
    /// Nil for apps without conversations.
    pub(crate) conversation: Uuid,
    pub(crate) message: Uuid,
    pub(crate) task: Uuid,
    pub(crate) run: Uuid,
    pub(crate) created_at: i64,
    /// Turns of the conversation before this one.
    pub(crate) turns_before: usize,
    names_conversation: bool,
    /// Whether a message came: a run that failed names nothing.
    pub(crate) failed: AtomicBool,
    /// The ids every event carries, `task_id` last.
    envelope: String,
    /// Its number in the log of runs.
    entry: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.note(RunEnd::Left);
        self.app.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Begins a run: makes its ids and stores what is known. The caller has counted it as active.
    pub(crate) fn begin(shared: &Arc<Shared>, app: &Arc<AppState>, ask: Ask) -> Self {
        let mut turn = Self {
            shared: Arc::clone(shared),
            app: Arc::clone(app),
            user_id: Uuid::nil(),
            conversation: ask.conversation.unwrap_or_else(Uuid::new_v4),
            message: Uuid::new_v4(),
            task: Uuid::new_v4(),
            run: Uuid::new_v4(),
            created_at: now(),
            turns_before: 0,
            names_conversation: ask.conversation.is_none()
                && ask.auto_generate_name
                && matches!(app.app.mode, Mode::Chat | Mode::AgentChat | Mode::Agent),
            failed: AtomicBool::new(false),
            envelope: String::new(),
            entry: 0,
            user: ask.user,
            query: ask.query,
            inputs: ask.inputs,
            files: ask.files,
        };
        turn.envelope = format!("{}, \"task_id\": \"{}\"", turn.family_ids(), turn.task);
        turn.store();
        let mode = app.app.mode;
        let id = |id: Uuid| id.to_string();
        turn.entry = shared.runs.push(Ran {
            key: app.app.key.clone(),
            user: turn.user.clone(),
            query: turn.query.clone(),
            inputs: ask.sent_inputs,
            files: files::described(&turn),
            streamed: ask.streamed,
            continued: ask.conversation.is_some(),
            auto_generate_name: ask.auto_generate_name,
            conversation: mode.has_conversations().then(|| id(turn.conversation)),
            message: (mode != Mode::Workflow).then(|| id(turn.message)),
            task: id(turn.task),
            workflow_run: mode.is_flow().then(|| id(turn.run)),
            end: RunEnd::Running,
        });
        turn
    }

    /// Notes how it ended; the first word counts.
    pub(crate) fn note(&self, end: RunEnd) {
        self.shared.runs.end(self.entry, end);
    }

    /// What the model does with this prompt of the run.
    pub(crate) fn script(&self, prompt: &str) -> model::Script {
        let mut script = model::script(prompt);
        if model::recalls(prompt) {
            script.tokens = model::recalled(&self.earlier());
        }
        script.tokens.extend(files::described(self).iter().map(|file| format!(" [{file}]")));
        script
    }

    /// The queries of the conversation before this one.
    fn earlier(&self) -> Vec<String> {
        let db = self.shared.db();
        let Some(conversation) = db.conversations.get(self.conversation) else { return Vec::new() };
        let before = conversation.messages.iter().take_while(|id| **id != self.message);
        before.filter_map(|id| Some(db.messages.get(*id)?.query.clone())).collect()
    }

    fn store(&mut self) {
        let mut db = self.shared.db();
        self.user_id = db.user(self.app.id, &self.user);
        if self.app.app.mode == Mode::Workflow {
            return;
        }
        if !self.app.app.mode.has_conversations() {
            self.conversation = Uuid::nil();
        } else if db.conversations.get(self.conversation).is_none() {
            let row = Conversation {
                app: self.app.id,
                user: self.user.clone(),
                name: self.query.clone(),
                inputs: self.inputs.clone(),
                created_at: self.created_at,
                updated_at: self.created_at,
                changed: 0,
                messages: Vec::new(),
            };
            db.conversations.insert(self.conversation, row, self.query.len());
        }
        let row = Message {
            app: self.app.id,
            user: self.user.clone(),
            conversation: self.conversation,
            inputs: self.inputs.clone(),
            query: self.query.clone(),
            answer: String::new(),
            error: None,
            thought: None,
            files: self.files.iter().map(|file| (Uuid::new_v4(), file.clone())).collect(),
            feedback: None,
            created_at: self.created_at,
        };
        // The answer echoes the query.
        db.messages.insert(self.message, row, 2 * self.query.len());
        let changed = db.change();
        if let Some(conversation) = db.conversations.get_mut(self.conversation) {
            self.turns_before = conversation.messages.len();
            conversation.messages.push(self.message);
            conversation.changed = changed;
            conversation.updated_at = self.created_at;
        }
    }

    /// Stores what the run came to; Dify cuts white space at both ends.
    pub(crate) fn save_answer(&self, answer: &str) {
        self.note(RunEnd::Succeeded);
        if let Some(message) = self.shared.db().messages.get_mut(self.message) {
            answer.trim().clone_into(&mut message.answer);
        }
    }

    /// Stores the error the run came to.
    pub(crate) fn save_error(&self, error: &str) {
        self.note(RunEnd::Failed);
        self.failed.store(true, Ordering::Relaxed);
        if let Some(message) = self.shared.db().messages.get_mut(self.message) {
            message.error = Some(error.to_owned());
        }
    }

    /// How long the stream stays open after its last event, for the name of the conversation.
    pub(crate) fn naming_time(&self) -> Duration {
        if !self.names_conversation || self.failed.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        match model::naming_time(&self.query) {
            Some(seconds) => self.asked_time(seconds),
            None => self.shared.setup.pace.title_delay,
        }
    }

    /// How long so many seconds last that a query asks for.
    pub(crate) fn asked_time(&self, seconds: f64) -> Duration {
        let time = self.shared.setup.pace.second.as_secs_f64() * seconds;
        Duration::try_from_secs_f64(time).unwrap_or(Duration::ZERO)
    }

    /// The wait between two tokens.
    pub(crate) fn step(&self, script: &model::Script) -> Duration {
        let pace = self.shared.setup.pace;
        script.step.map_or(pace.between_tokens, |seconds| self.asked_time(seconds))
    }

    /// The ids of the app's family of events, without `task_id`.
    fn family_ids(&self) -> String {
        match self.app.app.mode {
            Mode::Workflow => format!("\"workflow_run_id\": \"{}\"", self.run),
            Mode::Completion => {
                format!("\"message_id\": \"{}\", \"created_at\": {}", self.message, self.created_at)
            }
            _ => format!(
                "\"conversation_id\": \"{}\", \"message_id\": \"{}\", \"created_at\": {}",
                self.conversation, self.message, self.created_at
            ),
        }
    }

    /// An event with further fields after the ids; `fields` is JSON text without its braces.
    pub(crate) fn event(&self, name: &str, fields: &str) -> String {
        format!("data: {{\"event\": \"{name}\", {}, {fields}}}\n\n", self.envelope)
    }

    /// An event of a flow, with its `data`.
    pub(crate) fn flow_event(&self, name: &str, data: &str) -> String {
        if self.app.app.mode == Mode::Workflow {
            self.event(name, &format!("\"data\": {data}"))
        } else {
            self.event(name, &format!("\"workflow_run_id\": \"{}\", \"data\": {data}", self.run))
        }
    }

    /// A piece of the answer; `selector` is JSON text.
    pub(crate) fn message_event(&self, answer: &str, selector: &str) -> String {
        let mut event = String::with_capacity(420 + answer.len());
        event.push_str("data: {\"event\": \"message\", ");
        event.push_str(&self.envelope);
        event.push_str(&format!(", \"id\": \"{}\", \"answer\": ", self.message));
        pyjson::quote_into(&mut event, answer);
        event.push_str(", \"from_variable_selector\": ");
        event.push_str(selector);
        event.push_str("}\n\n");
        event
    }

    /// `message_end`; both are JSON text.
    pub(crate) fn end_event(&self, usage: &str, files: &str) -> String {
        let metadata = usage::metadata(usage, model::sources(&self.query));
        self.event(
            "message_end",
            &format!("\"id\": \"{}\", \"metadata\": {metadata}, \"files\": {files}", self.message),
        )
    }

    /// `message_file`: a picture the assistant made.
    pub(crate) fn picture_event(&self) -> String {
        let id = Uuid::new_v4();
        let url = files::signed_url(&self.shared, id);
        self.event(
            "message_file",
            &format!(
                "\"id\": \"{id}\", \"type\": \"image\", \"belongs_to\": \"assistant\", \
                 \"url\": \"{url}\""
            ),
        )
    }

    /// `message_replace`, as moderation of the answer gives it.
    pub(crate) fn replace_event(&self, answer: &str) -> String {
        let answer = pyjson::quote(answer);
        self.event(
            "message_replace",
            &format!("\"answer\": {answer}, \"reason\": \"output_moderation\""),
        )
    }

    /// The `reasoning_chunk` events of a model node, in order.
    pub(crate) fn reasoning_events(&self) -> Vec<String> {
        let pieces = model::REASONING.into_iter().map(|piece| (piece, false));
        let pieces = pieces.chain([("", true)]);
        let message = match self.app.app.mode {
            Mode::Workflow => String::new(),
            _ => format!("\"message_id\": \"{}\", ", self.message),
        };
        let event = |(piece, last): (&str, bool)| {
            let piece = pyjson::quote(piece);
            let data = format!(
                "{{{message}\"reasoning\": {piece}, \"node_id\": \"llm\", \"is_final\": {last}}}"
            );
            self.event("reasoning_chunk", &format!("\"data\": {data}"))
        };
        pieces.map(event).collect()
    }

    /// `error`, which has no `task_id`.
    pub(crate) fn error_event(&self, code: &str, message: &str) -> String {
        format!(
            "data: {{\"event\": \"error\", {}, \"code\": \"{code}\", \"status\": 400, \
             \"message\": {}}}\n\n",
            self.family_ids(),
            pyjson::quote(message)
        )
    }

    /// The body of a blocking answer of a chat or completion.
    pub(crate) fn body(&self, answer: &str, usage: &str) -> String {
        let conversation = if self.app.app.mode.has_conversations() {
            format!("\"conversation_id\": \"{}\", ", self.conversation)
        } else {
            String::new()
        };
        format!(
            "{{\"event\": \"message\", \"task_id\": \"{}\", \"id\": \"{}\", \"message_id\": \
             \"{}\", {conversation}\"mode\": \"{}\", \"answer\": {}, \"metadata\": {}, \
             \"created_at\": {}}}",
            self.task,
            self.message,
            self.message,
            self.app.app.mode.name(),
            pyjson::quote(answer),
            usage::metadata(usage, model::sources(&self.query)),
            self.created_at
        )
    }

    /// The inputs of a flow: the fields of its form and what the system adds. `files` is JSON text.
    pub(crate) fn flow_inputs(&self, files: &str) -> String {
        let form = pyjson::text(&self.inputs);
        let form = form.strip_prefix('{').and_then(|form| form.strip_suffix('}')).unwrap_or("");
        let comma = if form.is_empty() { "" } else { ", " };
        let user = pyjson::quote(&self.user);
        let talk = if self.app.app.mode == Mode::Workflow {
            format!("\"sys.files\": {files}, \"sys.user_id\": {user}")
        } else {
            format!(
                "\"sys.query\": {}, \"sys.files\": {files}, \"sys.conversation_id\": \"{}\", \
                 \"sys.user_id\": {user}, \"sys.dialogue_count\": {}",
                pyjson::quote(&self.query),
                self.conversation,
                self.turns_before
            )
        };
        format!(
            "{{{form}{comma}{talk}, \"sys.app_id\": \"{}\", \"sys.workflow_id\": \"{}\", \
             \"sys.workflow_run_id\": \"{}\"}}",
            self.app.id, self.app.workflow_id, self.run
        )
    }

    /// `data` of `workflow_started`.
    pub(crate) fn flow_started(&self, inputs: &str) -> String {
        format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"inputs\": {inputs}, \"created_at\": {}}}",
            self.run, self.app.workflow_id, self.created_at
        )
    }

    /// `data` of `workflow_finished`.
    pub(crate) fn flow_finished(&self, finish: &Finish<'_>) -> String {
        format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"status\": \"{}\", \"outputs\": {}, \
             \"error\": {}, \"elapsed_time\": {}, \"total_tokens\": {}, \"total_steps\": {}, \
             \"created_by\": {{\"id\": \"{}\", \"user\": {}}}, \"created_at\": {}, \
             \"finished_at\": {}, \"exceptions_count\": 0, \"files\": []}}",
            self.run,
            self.app.workflow_id,
            finish.status,
            finish.outputs,
            pyjson::quote(finish.error),
            seconds(finish.elapsed),
            finish.tokens,
            finish.steps,
            self.user_id,
            pyjson::quote(&self.user),
            self.created_at,
            finish.finished_at
        )
    }

    /// The next node of the flow.
    pub(crate) fn node(
        node: &'static str,
        kind: &'static str,
        title: &'static str,
        index: u32,
        before: Option<&'static str>,
    ) -> Node {
        Node { id: Uuid::new_v4(), node, kind, title, index, before, created_at: now() }
    }

    /// Seconds a `Flow::Slow` waits.
    pub(crate) fn slow_seconds(text: &str) -> f64 {
        text.trim().parse::<f64>().ok().filter(|time| (0.0..86_400.0).contains(time)).unwrap_or(0.0)
    }

    /// Whether the app is of this flow.
    pub(crate) fn flow(&self) -> Flow {
        self.app.app.flow
    }
}
