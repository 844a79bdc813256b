//! One run: what was asked, its ids, how it ends.

mod bodies;
mod events;
mod rows;

use super::files;
use super::model;
use super::place::Place;
use crate::app::{Flow, Mode};
use crate::clock::now;
use crate::db::{Attached, EndUser, Node};
use crate::live::Live;
use crate::pyjson;
use crate::ran::{Ran, RunEnd};
use crate::release::Release;
use crate::state::{AppState, Shared};
use rows::Named;
pub(crate) use rows::TITLE;
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
            files: files::described(shared, &turn.files),
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
        script.tokens.extend(
            files::described(&self.shared, &self.files).iter().map(|file| format!(" [{file}]")),
        );
        script
    }

    /// The queries of the conversation before this one.
    fn earlier(&self) -> Vec<String> {
        let db = self.shared.db();
        let Some(conversation) = db.conversations.get(self.conversation) else { return Vec::new() };
        let before = conversation.messages.iter().take_while(|id| **id != self.message);
        before.filter_map(|id| Some(db.messages.get(*id)?.query.clone())).collect()
    }

    /// Which Dify it runs on.
    pub(crate) fn release(&self) -> Release {
        self.shared.setup.release
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
