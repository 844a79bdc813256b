//! `chat-messages`, `completion-messages`, and stopping them.

use super::arguments::{choice, is_streaming, required, uuid};
use super::order::Wanted;
use super::{Call, Passed, Reply, models, pydantic};
use crate::app::{Flow, Mode};
use crate::live::Live;
use crate::pyjson;
use crate::run::place::Place;
use crate::run::stage::PING;
use crate::run::turn::{Seat, Turn};
use crate::run::{self, Source, job};
use crate::tasks::{Flows, Whose};
use crate::wire::answer::{Answer, Refused};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

pub(super) async fn chat(call: Call<'_>) -> Result<Reply, Refused> {
    let mode = call.app.app.mode;
    if !mode.has_conversations() {
        return Err(Box::new(Answer::wrong_mode("not_chat_app")));
    }
    if call.release().is_restx() {
        pydantic::check(&models::CHAT, &call.json)?;
    }
    required(&call.json, "inputs")?;
    let query = pyjson::str_of(required(&call.json, "query")?);
    let streaming = is_streaming(&call.json)?;
    let conversation = conversation(&call)?;
    choice(call.json.get("retriever_from"), "retriever_from", &["dev"]).ok();
    let place = place(&call, streaming)?;
    published(&call)?;
    if mode.is_agent() && !streaming {
        let message = "Agent Chat App does not support blocking mode";
        return Err(Box::new(match mode {
            Mode::Agent => Answer::error(400, "bad_request", message),
            _ => Answer::invalid(message),
        }));
    }
    if query.is_empty() || call.json["query"].is_null() {
        return Err(Box::new(Answer::invalid("query is required")));
    }
    let mut wanted = Wanted::new(&call, streaming);
    wanted.query = if call.release().is_restx() { query.replace('\0', "") } else { query };
    wanted.conversation = conversation;
    begin(wanted, place).await
}

/// The conversation to go on with; blanks are none in later releases.
fn conversation(call: &Call<'_>) -> Result<Option<Uuid>, Refused> {
    let given = call.json.get("conversation_id");
    let blank = given.and_then(Value::as_str).is_some_and(|text| text.trim().is_empty());
    if blank && call.release().is_restx() {
        return Ok(None);
    }
    uuid(given, "conversation_id")
}

pub(super) async fn completion(call: Call<'_>) -> Result<Reply, Refused> {
    if call.app.app.mode != Mode::Completion {
        return Err(Box::new(unavailable()));
    }
    if call.release().is_restx() {
        pydantic::check(&models::COMPLETION, &call.json)?;
    }
    required(&call.json, "inputs")?;
    let streaming = is_streaming(&call.json)?;
    let place = place(&call, streaming)?;
    begin(Wanted::new(&call, streaming), place).await
}

fn unavailable() -> Answer {
    let message = "App unavailable, please check your app configurations.";
    Answer::error(400, "app_unavailable", message)
}

/// Starts the run, or hands it to the worker; a blocking one is played to its end.
pub(super) async fn begin(wanted: Wanted, place: Option<Place>) -> Result<Reply, Refused> {
    let (shared, app) = (Arc::clone(&wanted.shared), Arc::clone(&wanted.app));
    let streamed = wanted.streamed;
    let Some(place) = place else { return Ok(hand_over(wanted)) };
    let ask = wanted.ask()?;
    let turn = Arc::new(Turn::begin(&shared, &app, ask, Seat::Api(place)));
    if streamed && shared.redis_is_away() {
        return Err(Box::new(Answer::overloaded()));
    }
    if streamed {
        return Ok(Reply::Stream(turn));
    }
    Ok(Reply::Answer(run::blocking(&turn).await))
}

/// A streamed flow of a release that has a worker: whatever is wrong with it, it begins with a ping.
fn hand_over(wanted: Wanted) -> Reply {
    let shared = Arc::clone(&wanted.shared);
    let live = Arc::new(Live::new());
    let heard = live.listen();
    let order = move |live: Arc<Live>| {
        let (shared, app) = (Arc::clone(&wanted.shared), Arc::clone(&wanted.app));
        match wanted.ask() {
            Ok(ask) => Ok(Turn::begin(&shared, &app, ask, Seat::Worker(live))),
            Err(refused) => Err(refused.told().map(|(_, message)| message).unwrap_or_default()),
        }
    };
    job::order(&shared, &live, Box::new(order));
    let source = Source {
        first: vec![PING.to_owned()],
        heard: Some(heard),
        pings: run::Pings::First,
        pause: run::Pause::Ends,
    };
    Reply::Passed(Passed { answer: Answer::events(), source })
}

/// A place among the runs of the app, none for what the worker does. Before that one, so many must
/// be free that a streamed flow is never let in where one run is the most.
pub(super) fn place(call: &Call<'_>, streaming: bool) -> Result<Option<Place>, Refused> {
    if call.shared.redis_is_away() && !call.release().is_restx() {
        return Err(Box::new(Answer::overloaded()));
    }
    let (place, before) = Place::take(&call.app);
    let to_worker = call.is_for_worker(streaming);
    let needed = if to_worker { 2 } else { 1 };
    match call.app.app.max_active_requests {
        Some(most) if before + needed > most => Err(Box::new(Answer::invalid(&format!(
            "Too many requests. Please try again later. The current maximum concurrent requests \
             allowed for {} is {most}.",
            call.app.id
        )))),
        _ if to_worker => Ok(None),
        _ => Ok(Some(place)),
    }
}

/// Whether the app was published, in the version that the request names, if it names one.
pub(super) fn published(call: &Call<'_>) -> Result<(), Refused> {
    if call.app.app.flow == Flow::Unpublished {
        return Err(Box::new(Answer::invalid("Workflow not published")));
    }
    match call.json.get("workflow_id").filter(|id| !pyjson::is_falsy(id)) {
        Some(id) if call.release().is_restx() && call.app.app.mode.is_flow() => {
            version(call, &pyjson::str_of(id))
        }
        _ => Ok(()),
    }
}

/// Whether this is the id of the app's published version.
pub(super) fn version(call: &Call<'_>, id: &str) -> Result<(), Refused> {
    let Ok(id) = Uuid::parse_str(id) else {
        let message = format!("Invalid workflow_id format: '{id}'. Please provide a valid UUID.");
        return Err(Box::new(Answer::error(400, "workflow_id_format_error", &message)));
    };
    if id == call.app.workflow_id {
        return Ok(());
    }
    Err(Box::new(Answer::not_found(&format!("Workflow not found with id: {id}"))))
}

pub(super) fn stop_chat(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    if !call.app.app.mode.has_conversations() {
        return Err(Box::new(Answer::wrong_mode("not_chat_app")));
    }
    stop(call, task)
}

pub(super) fn stop_completion(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    if call.app.app.mode != Mode::Completion {
        return Err(Box::new(unavailable()));
    }
    stop(call, task)
}

/// Always a success, whether there is such a task or not.
pub(super) fn stop(call: &Call<'_>, task: &str) -> Result<Answer, Refused> {
    if call.shared.redis_is_away() {
        return Err(Box::new(Answer::crash()));
    }
    let flow = if call.app.app.mode.is_flow() { Flows::Yes } else { Flows::No };
    let others = if call.release().lets_others_stop() { Flows::Yes } else { Flows::No };
    let asker = Whose { app: call.app.id, user: &call.user, flow };
    call.shared.tasks.stop(task, &asker, others);
    Ok(Answer::success())
}
