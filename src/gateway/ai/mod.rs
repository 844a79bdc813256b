//! OpenAI's and Anthropic's protocols in front of the apps.
//!
//! A request at a door becomes one or more native calls of Dify (`errand`), each with the same
//! routing, affinity and failover as a client's own; what Dify answers is told in the door's words
//! (`telling`). Which conversation a transcript goes on with is decided in `thread`.

mod answer_error;
mod audio;
mod caller;
mod coding;
mod entrance;
mod errand;
pub(crate) mod errors;
mod facts;
mod hints;
mod history;
mod intake;
mod mappings;
mod offload;
pub(crate) mod request;
mod response_headers;
mod run;
mod telling;
mod thread;
mod upload;
mod upstream;
mod waiting;

use std::sync::Arc;

use bytes::Bytes;

use self::entrance::Call;
pub(super) use self::entrance::{Door, Entrance, entrance, tidied};
use self::errand::Errand;
use self::intake::Taken;
use self::offload::Payload;
use self::run::{Asked, run};
use self::thread::Worth;
use self::waiting::{Head, Late};
use crate::adapter::{CompletionRequest, Protocol, ResponseEncoder, anthropic, openai, side_task};
use crate::conversation::Thread;
use crate::gateway::ai::request::{Arrival, Done, local};
use crate::gateway::http::request_body::Arriving;
use crate::gateway::state::ai_settings::{History, Settings, Tasks};
use crate::gateway::state::app::App;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tokens::Key;
use crate::model::GatewayError;

/// When a model was made, in seconds since 1970: clients sort by it and show it.
const CREATED_S: u64 = 0;

/// Answers a request at a door.
pub(super) async fn answer(mut arrival: Arrival, body: Arriving, door: Door<'_>) -> Done {
    let key = match caller::key(&arrival.snapshot, &arrival.headers) {
        Ok(key) => key,
        Err(error) => return Done::Error(arrival.record, error),
    };
    arrival.record.came_by(&key);
    match door.call {
        Call::Models if door.protocol == Protocol::Anthropic => {
            let models = models(&arrival.snapshot, &key).map(|(id, _)| id);
            local(arrival.record, anthropic::models::list(models))
        }
        Call::Models => {
            local(arrival.record, openai::models::list(models(&arrival.snapshot, &key)))
        }
        Call::Model(id) => {
            let found = caller::app(&arrival.snapshot, &key, id);
            match found {
                Ok(_) if door.protocol == Protocol::Anthropic => {
                    local(arrival.record, anthropic::models::one(id))
                }
                Ok(_) => local(arrival.record, openai::models::one(id, CREATED_S)),
                Err(error) => Done::Error(arrival.record, error),
            }
        }
        Call::Chat | Call::Completion | Call::Response | Call::Message => {
            arrival.converse(body, door, &key).await
        }
        Call::CountTokens => arrival.count_tokens(body, &key).await,
        Call::Unknown => Done::Error(arrival.record, errors::unsupported_endpoint()),
        Call::Transcription => audio::transcribe(arrival, body, &key).await,
        Call::Speech => audio::speak(arrival, body, &key).await,
        Call::Mappings => mappings::show(arrival, &key).await,
        Call::Cleanup => mappings::clean_up(arrival, body, &key).await,
    }
}

/// The models of a key, and when each was made. Nobody knows that, so it is always the same.
fn models<'a>(snapshot: &'a Snapshot, key: &'a Key) -> impl Iterator<Item = (&'a str, u64)> {
    let mine = snapshot.models.iter().filter(|(_, place)| key.apps.contains(place));
    mine.map(|(id, _)| (&**id, CREATED_S))
}

impl Arrival {
    /// Estimates what a question has in tokens.
    async fn count_tokens(mut self, body: Arriving, key: &Key) -> Done {
        let taken = match self.take_in(body, anthropic::count_tokens).await {
            Ok(taken) => taken,
            Err(error) => return Done::Error(self.record, error),
        };
        let (model, tokens) = &taken.asked;
        let app = caller::app(&self.snapshot, key, model);
        match app.and_then(|app| taken.check(&app)) {
            Ok(()) => local(self.record, anthropic::counted(*tokens)),
            Err(error) => Done::Error(self.record, error),
        }
    }

    /// An errand to an app, for a user.
    fn errand(mut self, app: Arc<App>, user: String) -> Errand {
        self.record.named(&user);
        let Self { worker, snapshot, address, record, .. } = self;
        Errand { worker, snapshot, app, address, user, record }
    }

    /// Reads a question and sends it on its way.
    async fn converse(mut self, body: Arriving, door: Door<'_>, key: &Key) -> Done {
        let taken = match self.take_in(body, reader(door.call)).await {
            Ok(taken) => taken.map(|(ask, voice), len| (Payload::new(ask, len), voice)),
            Err(error) => return Done::Error(self.record, error),
        };
        let app = match caller::app(&self.snapshot, key, &taken.asked.0.model) {
            Ok(app) => app,
            Err(error) => return Done::Error(self.record, error),
        };
        self.record.caller_known(&app);
        if let Err(error) = taken.check(&app) {
            return Done::Error(self.record, error);
        }
        let Taken { asked: (mut ask, voice), held, .. } = taken;
        hints::add(&mut ask, &self.headers, &app.doors);
        let user = match caller::user(key, ask.user.as_deref(), &self.headers, &app.doors) {
            Ok(user) => user,
            Err(error) => return Done::Error(self.record, error),
        };
        let is_task = app.doors.tasks != Tasks::InChat && is_task(&ask, &app.doors);
        if is_task && app.doors.tasks == Tasks::Refuse {
            return Done::Error(self.record, side_task::refused());
        }
        let user = if is_task { user + ":task" } else { user };
        let chat = ask.hints.chat.clone().filter(|_| !is_task);
        let thread = Thread {
            key: key.name.to_string(),
            app: app.name.to_string(),
            user: user.clone(),
            chat,
        };
        // A client that wants nothing stored has nothing to go on with, unless it names it.
        let is_alone = app.doors.history == History::Stateless
            || (ask.is_unstored && ask.hints.names_nothing());
        let worth = match (is_task, is_alone) {
            (true, _) => Worth::Deleted,
            (_, true) => Worth::Nothing,
            _ => Worth::Kept,
        };
        let (protocol, late, streamed) = (door.protocol, Late::default(), ask.streamed);
        let request_id = self.record.request_id().clone();
        let head = Head { request_id, ignored: ask.ignored.clone(), protocol };
        let own_url = self.own_url.take();
        let late_too = late.clone();
        let asked = Asked { ask, voice, protocol, thread, worth, late: late_too, held, own_url };
        let run = Box::pin(run(self.errand(app, user), asked));
        if streamed { waiting::wait(run, late, head).await } else { run.await }
    }
}

/// Whether a request is a side task, by the words of its app.
fn is_task(ask: &CompletionRequest, settings: &Settings) -> bool {
    match &settings.task_words {
        Some(words) => side_task::is_task(ask, words),
        None => side_task::is_task(ask, &side_task::WORDS),
    }
}

/// A question, and who tells its answer.
type Question = (CompletionRequest, Box<dyn ResponseEncoder + Send>);

/// What reads the question in a door's words.
fn reader(call: Call<'_>) -> fn(Bytes) -> Result<Question, GatewayError> {
    fn boxed<V: ResponseEncoder + Send + 'static>(
        (ask, voice): (CompletionRequest, V),
    ) -> Question {
        (ask, Box::new(voice))
    }
    match call {
        Call::Completion => |body| openai::completions::read(body).map(boxed),
        Call::Response => |body| openai::responses::read(body).map(boxed),
        Call::Message => |body| anthropic::messages::read(body).map(boxed),
        _ => |body| openai::chat::read(body).map(boxed),
    }
}
