//! One run: its ids, its rows in the data, and the texts all its events share.

use super::files::{self, Attached};
use super::live::Live;
use super::nodes::{Finish, Node, seconds};
use super::place::Place;
use super::{model, usage};
use crate::app::{Flow, Mode};
use crate::db::{Conversation, EndUser, Meeting, Message};
use crate::pyjson;
use crate::ran::{Ran, RunEnd};
use crate::release::Release;
use crate::state::{AppState, Shared, now};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// What a request asks for.
pub(crate) struct Ask {
    pub(crate) user: String,
    pub(crate) end_user: EndUser,
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

/// What the model calls every conversation.
pub(crate) const TITLE: &str = "A title";

/// Who names a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    ByModel,
    ByQuery,
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
    /// Its events, if the worker does it.
    pub(crate) live: Option<Arc<Live>>,
    /// Its place among the runs of its app, if it takes one.
    _place: Option<Place>,
}

/// Where a run is done.
pub(crate) enum Seat {
    /// In the API, counted as one of its app's runs.
    Api(Place),
    Worker(Arc<Live>),
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.note(RunEnd::Left);
    }
}

impl Turn {
    /// Begins a run: makes its ids and stores what is known.
    pub(crate) fn begin(shared: &Arc<Shared>, app: &Arc<AppState>, ask: Ask, seat: Seat) -> Self {
        let (live, place) = match seat {
            Seat::Api(place) => (None, Some(place)),
            Seat::Worker(live) => (Some(live), None),
        };
        let mut turn = Self {
            shared: Arc::clone(shared),
            app: Arc::clone(app),
            user_id: ask.end_user.id,
            conversation: ask.conversation.unwrap_or_else(Uuid::new_v4),
            message: Uuid::new_v4(),
            task: live.as_ref().map_or_else(Uuid::new_v4, |live| live.task),
            run: Uuid::new_v4(),
            created_at: now(),
            turns_before: 0,
            names_conversation: ask.conversation.is_none()
                && ask.auto_generate_name
                && !shared.setup.release.names_apart()
                && matches!(app.app.mode, Mode::Chat | Mode::AgentChat | Mode::Agent),
            failed: AtomicBool::new(false),
            envelope: String::new(),
            entry: 0,
            user: ask.user,
            query: ask.query,
            inputs: ask.inputs,
            files: ask.files,
            live,
            _place: place,
        };
        turn.envelope = format!("{}, \"task_id\": \"{}\"", turn.family_ids(), turn.task);
        let by_model =
            shared.setup.release.names_apart() && ask.auto_generate_name && !shared.redis_is_away();
        let named = if by_model { Named::ByModel } else { Named::ByQuery };
        turn.store(ask.end_user.meeting, named);
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
        let mut script = model::script(prompt, self.release());
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

    fn store(&mut self, meeting: Meeting, named: Named) {
        let mut db = self.shared.db();
        if self.app.app.mode == Mode::Workflow {
            return;
        }
        if !self.app.app.mode.has_conversations() {
            self.conversation = Uuid::nil();
        } else if db.conversations.get(self.conversation).is_none() {
            let name = match named {
                Named::ByModel => TITLE.to_owned(),
                Named::ByQuery => self.query.clone(),
            };
            let row = Conversation {
                app: self.app.id,
                user: self.user.clone(),
                lost: meeting == Meeting::Twin,
                name,
                inputs: self.inputs.clone(),
                language: "en".to_owned(),
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
            answer_files: Vec::new(),
            paused_run: None,
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

    /// Which Dify it runs on.
    pub(crate) fn release(&self) -> Release {
        self.shared.setup.release
    }

    /// Stores what the run came to. Dify cuts white space at both ends, later releases only where
    /// no nodes make the answer; a flow's picture links become files of its answer.
    pub(crate) fn save_answer(&self, answer: &str) {
        self.note(RunEnd::Succeeded);
        let later = self.release().is_restx();
        let shown =
            if later && self.flow() == Flow::Files { self.files.clone() } else { Vec::new() };
        if let Some(message) = self.shared.db().messages.get_mut(self.message) {
            message.answer = match self.app.app.mode {
                Mode::AdvancedChat if later => files::without_pictures(answer),
                _ => answer.trim().to_owned(),
            };
            message.answer_files = shown.into_iter().map(|file| (Uuid::new_v4(), file)).collect();
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

    /// An input as text.
    pub(crate) fn input(&self, name: &str) -> String {
        self.inputs.get(name).map(pyjson::str_of).unwrap_or_default()
    }

    /// The first field of the form that takes a text, with what was given.
    pub(crate) fn asked_text(&self) -> (String, &str) {
        let fields = self.app.app.fields(self.release());
        for field in fields.iter().filter(|field| !field.is_file()) {
            if let Some(text) = self.inputs.get(&field.name).and_then(Value::as_str) {
                return (field.name.clone(), text);
            }
        }
        (String::new(), "")
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
        self.written(&format!("{{\"event\": \"{name}\", {}, {fields}}}", self.envelope))
    }

    /// JSON text of Python's style as an event of this release.
    fn written(&self, text: &str) -> String {
        format!("data: {}\n\n", pyjson::rewritten(text, self.release().writes_events()))
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
        let answer = pyjson::quote(answer);
        let fields = format!(
            "\"id\": \"{}\", \"answer\": {answer}, \"from_variable_selector\": {selector}",
            self.message
        );
        self.event("message", &fields)
    }

    /// `message_end`; both are JSON text.
    pub(crate) fn end_event(&self, usage: &str, files: &str) -> String {
        let metadata = usage::metadata(usage, model::sources(&self.query), "null");
        self.end_event_of(&metadata, files)
    }

    /// `message_end` with all its metadata.
    pub(crate) fn end_event_of(&self, metadata: &str, files: &str) -> String {
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
        self.replace_event_for(answer, "output_moderation")
    }

    /// `message_replace` with this reason.
    pub(crate) fn replace_event_for(&self, answer: &str, reason: &str) -> String {
        let answer = pyjson::quote(answer);
        self.event("message_replace", &format!("\"answer\": {answer}, \"reason\": \"{reason}\""))
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
        self.written(&format!(
            "{{\"event\": \"error\", {}, \"code\": \"{code}\", \"status\": 400, \"message\": {}}}",
            self.family_ids(),
            pyjson::quote(message)
        ))
    }

    /// The body of a blocking answer of a chat or completion.
    pub(crate) fn body(&self, answer: &str, usage: &str, annotation: &str) -> String {
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
            usage::metadata(usage, model::sources(&self.query), annotation),
            self.created_at
        )
    }

    /// The body of a blocking answer of a flow that waits for a human. That of a chatflow is made
    /// after Dify's source; there is no recording of it.
    pub(crate) fn paused_body(&self) -> String {
        let db = self.shared.db();
        let Some(row) = db.runs.get(self.run) else { return "{}".to_owned() };
        let reason = row.pause.as_ref().map(|pause| pause.reason.as_str()).unwrap_or_default();
        let data = format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"status\": \"paused\", \"outputs\": {{}}, \
             \"error\": null, \"elapsed_time\": {}, \"total_tokens\": 0, \"total_steps\": {}, \
             \"created_at\": {}, \"finished_at\": null, \"paused_nodes\": [\"human\"], \"reasons\": \
             [{reason}]}}",
            self.run,
            self.app.workflow_id,
            seconds(0.001),
            row.steps,
            self.created_at
        );
        if self.app.app.mode == Mode::Workflow {
            return format!(
                "{{\"task_id\": \"{}\", \"workflow_run_id\": \"{}\", \"data\": {data}}}",
                self.task, self.run
            );
        }
        format!(
            "{{\"event\": \"workflow_paused\", \"task_id\": \"{}\", \"id\": \"{}\", \"message_id\": \
             \"{}\", \"conversation_id\": \"{}\", \"mode\": \"advanced-chat\", \"answer\": \"\", \
             \"workflow_run_id\": \"{}\", \"data\": {data}, \"created_at\": {}}}",
            self.task, self.message, self.message, self.conversation, self.run, self.created_at
        )
    }

    /// `data` of `workflow_started`.
    pub(crate) fn flow_started(&self, inputs: &str, reason: &str) -> String {
        let reason = match reason {
            _ if !self.release().gives_reasons() => String::new(),
            reason => format!(", \"reason\": \"{reason}\""),
        };
        format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"inputs\": {inputs}, \"created_at\": \
             {}{reason}}}",
            self.run, self.app.workflow_id, self.created_at
        )
    }

    /// `data` of `workflow_finished`.
    pub(crate) fn flow_finished(&self, finish: &Finish<'_>) -> String {
        let error = match finish.error {
            "" if self.release().is_restx() => "null".to_owned(),
            text => pyjson::quote(text),
        };
        format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"status\": \"{}\", \"outputs\": {}, \
             \"error\": {error}, \"elapsed_time\": {}, \"total_tokens\": {}, \"total_steps\": {}, \
             \"created_by\": {{\"id\": \"{}\", \"user\": {}}}, \"created_at\": {}, \
             \"finished_at\": {}, \"exceptions_count\": {}, \"files\": {}}}",
            self.run,
            self.app.workflow_id,
            finish.status,
            finish.outputs,
            seconds(finish.elapsed),
            finish.tokens,
            finish.steps,
            self.user_id,
            pyjson::quote(&self.user),
            self.created_at,
            finish.finished_at,
            if self.release().is_restx() { finish.exceptions } else { 0 },
            finish.files
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
        let id = Uuid::new_v4();
        Node { id, node, kind, title, index, before, created_at: now(), within: None }
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
