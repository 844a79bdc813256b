//! The service API of Dify 1.5.0: routes, the order of checks, and what each route does.
//!
//! Order: path and method → key (401) → app switched off (403) → body and `user` (415, 400, 500)
//! → kind of app (400) → parameters (400) → what the ids stand for (404). The first four are
//! [`front`]'s, the others each route's own.

mod apps;
mod arguments;
mod chat;
mod conversations;
pub(crate) mod front;
mod messages;
pub(crate) mod multipart;
mod outside;
pub(crate) mod routes;
mod upload;
mod workflows;

use crate::run::turn::Turn;
use crate::state::{AppState, Shared};
use crate::wire::answer::{Answer, Refused};
use crate::wire::head::Head;
use multipart::Form;
pub(crate) use routes::{BodyKind, Route};
use serde_json::Value;
use std::sync::Arc;

/// A request past the first checks.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) head: &'a Head,
    pub(crate) app: Arc<AppState>,
    pub(crate) user: String,
    /// The JSON object of the body, where the route reads one.
    pub(crate) json: Value,
    /// The form of the body, where the route reads one.
    pub(crate) form: Form,
}

/// What a request comes to.
pub(crate) enum Reply {
    Answer(Answer),
    /// A run that answers event by event.
    Stream(Box<Turn>),
}

/// Runs the route.
pub(crate) async fn answer(route: &Route, call: Call<'_>) -> Reply {
    let done = match route {
        Route::Chat => return reply(chat::chat(call).await),
        Route::Completion => return reply(chat::completion(call).await),
        Route::WorkflowRun => return reply(workflows::run(call).await),
        other => quick(other, &call),
    };
    Reply::Answer(done.unwrap_or_else(|refused| *refused))
}

fn reply(result: Result<Reply, Refused>) -> Reply {
    result.unwrap_or_else(|refused| Reply::Answer(*refused))
}

/// The routes that look something up.
fn quick(route: &Route, call: &Call<'_>) -> Result<Answer, Refused> {
    match route {
        Route::ChatStop(task) => chat::stop_chat(call, task),
        Route::CompletionStop(task) => chat::stop_completion(call, task),
        Route::WorkflowStop(task) => workflows::stop(call, task),
        Route::WorkflowRunGet(run) => workflows::get(call, run),
        Route::WorkflowLogs => workflows::logs(call),
        Route::Conversations => conversations::list(call),
        Route::Conversation(id) => conversations::delete(call, *id),
        Route::ConversationName(id) => conversations::name(call, *id),
        Route::ConversationVariables(id) => conversations::variables(call, *id),
        Route::Messages => messages::list(call),
        Route::Feedbacks(id) => messages::feedback(call, *id),
        Route::Suggested(id) => messages::suggested(call, *id),
        Route::AppFeedbacks => messages::feedbacks(call),
        Route::Upload => upload::upload(call),
        Route::AudioToText => upload::audio_to_text(call),
        Route::TextToAudio => apps::text_to_audio(call),
        Route::Parameters => Ok(apps::parameters(call)),
        Route::Info => Ok(apps::info(call)),
        Route::Meta => Ok(apps::meta()),
        Route::Site => Ok(apps::site(call)),
        Route::Annotations => apps::annotations(call),
        Route::Annotation(id) => apps::annotation(call, *id),
        _ => Err(Box::new(Answer::no_route())),
    }
}
