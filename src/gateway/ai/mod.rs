//! OpenAI's and Anthropic's protocols in front of the apps.
//!
//! A request of an AI client becomes one or more native calls of Dify (`dify_call`), each with the same
//! routing, affinity and failover as a client's own; what Dify answers is translated to the client's protocol
//! (`translate`). Which conversation a transcript continues is decided in `conversation`.

mod app_info;
mod audio;
mod auth;
mod complete;
mod content_encoding;
mod conversation;
mod conversations_api;
mod dify_call;
pub(crate) mod errors;
mod history;
mod keepalive;
mod offload;
mod read_request;
pub(crate) mod request;
mod request_hints;
mod response_headers;
mod route;
mod translate;
mod upload;
mod upstream;
mod upstream_error;

use std::sync::Arc;

use bytes::Bytes;

use self::complete::{Completion, complete};
use self::conversation::Persistence;
use self::dify_call::DifyCalls;
use self::keepalive::{HeadSent, StreamHead};
use self::offload::Payload;
use self::read_request::ReadBody;
use self::route::Call;
pub(super) use self::route::{AiRoute, PathMatch, match_path, tidied};
use crate::adapter::{CompletionRequest, Protocol, ResponseEncoder, anthropic, openai, side_task};
use crate::conversation::Thread;
use crate::gateway::ai::request::{AiRequest, AiResponse, local};
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::state::ai_settings::{AiSettings, History, Tasks};
use crate::gateway::state::app::App;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::tokens::Key;
use crate::model::GatewayError;

/// When a model was made, in seconds since 1970: clients sort by it and show it.
const CREATED_S: u64 = 0;

/// Answers a request at a route.
pub(super) async fn answer(
    mut request: AiRequest,
    body: IncomingBody,
    route: AiRoute<'_>,
) -> AiResponse {
    let key = match auth::key(&request.snapshot, &request.headers) {
        Ok(key) => key,
        Err(error) => return AiResponse::Error(request.record, error),
    };
    request.record.came_by(&key);
    match route.call {
        Call::Models if route.protocol == Protocol::Anthropic => {
            let models = models(&request.snapshot, &key).map(|(id, _)| id);
            local(request.record, anthropic::models::list(models))
        }
        Call::Models => {
            local(request.record, openai::models::list(models(&request.snapshot, &key)))
        }
        Call::Model(id) => {
            let found = auth::app(&request.snapshot, &key, id);
            match found {
                Ok(_) if route.protocol == Protocol::Anthropic => {
                    local(request.record, anthropic::models::one(id))
                }
                Ok(_) => local(request.record, openai::models::one(id, CREATED_S)),
                Err(error) => AiResponse::Error(request.record, error),
            }
        }
        Call::Chat | Call::Completion | Call::Response | Call::Message => {
            request.converse(body, route, &key).await
        }
        Call::CountTokens => request.count_tokens(body, &key).await,
        Call::Unknown => AiResponse::Error(request.record, errors::unsupported_endpoint()),
        Call::Transcription => audio::transcribe(request, body, &key).await,
        Call::Speech => audio::speak(request, body, &key).await,
        Call::Mappings => conversations_api::show(request, &key).await,
        Call::Cleanup => conversations_api::clean_up(request, body, &key).await,
    }
}

/// The models of a key, and when each was made. Nobody knows that, so it is always the same.
fn models<'a>(snapshot: &'a Snapshot, key: &'a Key) -> impl Iterator<Item = (&'a str, u64)> {
    let mine = snapshot.models.iter().filter(|(_, place)| key.apps.contains(place));
    mine.map(|(id, _)| (&**id, CREATED_S))
}

impl AiRequest {
    /// Estimates what a question has in tokens.
    async fn count_tokens(mut self, body: IncomingBody, key: &Key) -> AiResponse {
        let taken = match self.take_in(body, anthropic::count_tokens).await {
            Ok(taken) => taken,
            Err(error) => return AiResponse::Error(self.record, error),
        };
        let (model, tokens) = &taken.asked;
        let app = auth::app(&self.snapshot, key, model);
        match app.and_then(|app| taken.check(&app)) {
            Ok(()) => local(self.record, anthropic::counted(*tokens)),
            Err(error) => AiResponse::Error(self.record, error),
        }
    }

    /// A Dify call to an app, for a user.
    fn calls(mut self, app: Arc<App>, user: String) -> DifyCalls {
        self.record.named(&user);
        let Self { worker, snapshot, address, record, .. } = self;
        DifyCalls { worker, snapshot, app, address, user, record }
    }

    /// Reads a question and sends it on its way.
    async fn converse(mut self, body: IncomingBody, route: AiRoute<'_>, key: &Key) -> AiResponse {
        let taken = match self.take_in(body, reader(route.call)).await {
            Ok(taken) => taken.map(|(ask, encoder), len| (Payload::new(ask, len), encoder)),
            Err(error) => return AiResponse::Error(self.record, error),
        };
        let app = match auth::app(&self.snapshot, key, &taken.asked.0.model) {
            Ok(app) => app,
            Err(error) => return AiResponse::Error(self.record, error),
        };
        self.record.caller_known(&app);
        if let Err(error) = taken.check(&app) {
            return AiResponse::Error(self.record, error);
        }
        let ReadBody { asked: (mut ask, encoder), held, .. } = taken;
        request_hints::add(&mut ask, &self.headers, &app.ai);
        let user = match auth::user(key, ask.user.as_deref(), &self.headers, &app.ai) {
            Ok(user) => user,
            Err(error) => return AiResponse::Error(self.record, error),
        };
        let is_task = app.ai.tasks != Tasks::InChat && is_task(&ask, &app.ai);
        if is_task && app.ai.tasks == Tasks::Refuse {
            return AiResponse::Error(self.record, side_task::refused());
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
        let is_alone =
            app.ai.history == History::Stateless || (ask.is_unstored && ask.hints.names_nothing());
        let worth = match (is_task, is_alone) {
            (true, _) => Persistence::Deleted,
            (_, true) => Persistence::Nothing,
            _ => Persistence::Kept,
        };
        let (protocol, late, streamed) = (route.protocol, HeadSent::default(), ask.streamed);
        let request_id = self.record.request_id().clone();
        let head = StreamHead { request_id, ignored: ask.ignored.clone(), protocol };
        let own_url = self.own_url.take();
        let late_too = late.clone();
        let asked =
            Completion { ask, encoder, protocol, thread, worth, late: late_too, held, own_url };
        let complete = Box::pin(complete(self.calls(app, user), asked));
        if streamed { keepalive::wait(complete, late, head).await } else { complete.await }
    }
}

/// Whether a request is a side task, by the words of its app.
fn is_task(ask: &CompletionRequest, settings: &AiSettings) -> bool {
    match &settings.task_words {
        Some(words) => side_task::is_task(ask, words),
        None => side_task::is_task(ask, &side_task::WORDS),
    }
}

/// A question, and the encoder of its answer.
type Question = (CompletionRequest, Box<dyn ResponseEncoder + Send>);

/// What reads the question in its protocol.
fn reader(call: Call<'_>) -> fn(Bytes) -> Result<Question, GatewayError> {
    fn boxed<V: ResponseEncoder + Send + 'static>(
        (ask, encoder): (CompletionRequest, V),
    ) -> Question {
        (ask, Box::new(encoder))
    }
    match call {
        Call::Completion => |body| openai::completions::read(body).map(boxed),
        Call::Response => |body| openai::responses::read(body).map(boxed),
        Call::Message => |body| anthropic::messages::read(body).map(boxed),
        _ => |body| openai::chat::read(body).map(boxed),
    }
}
