//! The service API of Dify: routes, the order of checks, and what each route does.
//!
//! Order: path and method → key (401) → app switched off (403) → body and `user` (415, 400, 500)
//! → kind of app (400) → parameters (400) → what the ids stand for (404). The first four are
//! [`front`]'s, the others each route's own.

mod apps;
mod arguments;
mod chat;
mod conversations;
pub(crate) mod datasets;
mod events;
mod forms;
pub(crate) mod front;
mod hint;
pub(crate) mod keys;
mod mcp;
mod messages;
mod models;
pub(crate) mod multipart;
mod order;
mod outside;
mod pydantic;
pub(crate) mod routes;
mod upload;
mod users;
mod workflows;

use crate::db::{EndUser, Meeting, Races};
use crate::release::Release;
use crate::run::Source;
use crate::run::turn::Turn;
use crate::state::{AppState, Shared};
use crate::wire::answer::{Answer, Refused};
use crate::wire::head::Head;
use front::{Caller, Read};
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
    /// Whom the user is taken for.
    pub(crate) end_user: EndUser,
    /// The JSON object of the body, where the route reads one.
    pub(crate) json: Value,
    /// The form of the body, where the route reads one.
    pub(crate) form: Form,
}

impl Call<'_> {
    pub(crate) fn release(&self) -> Release {
        self.shared.setup.release
    }

    /// Whether the worker does this run.
    fn is_for_worker(&self, streaming: bool) -> bool {
        streaming && self.app.app.mode.is_flow() && self.release().streams_flows_in_worker()
    }

    /// Finds the user among the app's end users, or makes one of them, which takes a moment; who
    /// comes meanwhile is not found.
    pub(crate) async fn meet(&mut self) {
        let races = if self.release().races_new_users() { Races::Yes } else { Races::No };
        self.end_user = self.shared.db().meet(self.app.id, &self.user, races);
        if self.end_user.meeting == Meeting::First && races == Races::Yes {
            let arriving = Arriving(self);
            tokio::time::sleep(self.shared.setup.pace.newcomer).await;
            drop(arriving);
        }
    }
}

/// A user whose first request is under way.
struct Arriving<'c, 'a>(&'c Call<'a>);

impl Drop for Arriving<'_, '_> {
    fn drop(&mut self) {
        self.0.shared.db().arrived(self.0.app.id, &self.0.user);
    }
}

/// What a request comes to.
pub(crate) enum Reply {
    Answer(Answer),
    /// A run that answers event by event.
    Stream(Arc<Turn>),
    /// A stream of what somebody else does.
    Passed(Passed),
}

/// A stream of what somebody else does, and the head it begins with.
pub(crate) struct Passed {
    pub(crate) answer: Answer,
    pub(crate) source: Source,
}

/// Runs the route.
pub(crate) async fn answer(route: &Route, call: Call<'_>) -> Reply {
    let done = match route {
        Route::Chat => return reply(chat::chat(call).await),
        Route::Completion => return reply(chat::completion(call).await),
        Route::WorkflowRun => return reply(workflows::run(call, None).await),
        Route::WorkflowRunOf(id) => return reply(workflows::run(call, Some(id)).await),
        Route::RunEvents(run) => return reply(events::events(&call, run)),
        other => quick(other, &call),
    };
    Reply::Answer(done.unwrap_or_else(|refused| *refused))
}

/// Runs a route that wants no app.
pub(crate) fn desk(
    shared: &Arc<Shared>,
    route: &Route,
    caller: &Caller,
    head: &Head,
    read: Read,
) -> Answer {
    let read = match read {
        Read::Bytes(bytes) => front::json(head, bytes, shared.setup.release),
        Read::Nothing | Read::Form(_) => Ok(Value::Null),
    };
    let answer = match (route, caller) {
        (Route::Dataset(path), Caller::Workspace(workspace)) => {
            read.and_then(|json| datasets::answer(shared, workspace, path, head, &json))
        }
        (Route::Mcp(code), _) => read.and_then(|json| mcp::answer(shared, code, &json)),
        _ => Err(Box::new(Answer::no_route())),
    };
    answer.unwrap_or_else(|refused| *refused)
}

/// The answer as this release gives it to this request.
pub(crate) fn finished(answer: Answer, head: &Head, release: Release) -> Answer {
    if !release.is_restx() {
        return answer;
    }
    if answer.status == 404
        && let Some((code, message)) = answer.told()
        && let Some(hinted) = hint::hinted(&message, &head.path(), release)
    {
        return Answer::error(404, &code, &hinted).by(release);
    }
    answer.by(release)
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
        Route::ConversationVariable(id, variable) => {
            conversations::set_variable(call, *id, *variable)
        }
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
        Route::AnnotationReply(action) => apps::annotation_reply(call, action),
        Route::AnnotationReplyStatus(job) => apps::annotation_reply_status(call, *job),
        Route::EndUser(id) => users::get(call, *id),
        Route::Preview(id) => upload::preview(call, *id),
        Route::Form(token) if call.head.method == "POST" => forms::submit(call, token),
        Route::Form(token) => forms::get(call, token),
        _ => Err(Box::new(Answer::no_route())),
    }
}
