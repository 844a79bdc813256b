//! Runs whose client has gone away.
//!
//! Measured on Dify 1.5.0: of a closed connection it takes notice at its second write, up to 20 s
//! later; the answer is then lost and the run stays "running" for ever. So a streamed run is stopped
//! through Dify's own call, at the instance that runs it, with the same user and key, and what is
//! still to come is read, for a bounded time, so that the usage is known. What Dify keeps open after
//! that is [held](crate::gateway::upstream::held).

use std::time::Duration;

use http::{HeaderValue, Method};
use tokio::time::{Instant, timeout_at};

use crate::dify::path::Run;
use crate::gateway::http::buffered_body::Kept;
use crate::gateway::http::send_state::Progress;
use crate::gateway::proxy::relay::{Relay, Seen};
use crate::gateway::state::policy::OnDisconnect;
use crate::gateway::upstream::attempt::{Patience, attempt};
use crate::gateway::upstream::classify_response;
use crate::gateway::upstream::upstream_request::Outbound;
use crate::model::Reason;

/// For Dify's answer to a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// For a run that has said its last word to end its answer.
const AFTER_END: Duration = Duration::from_secs(10);
/// For a stopped run to end: Dify 1.5.0 takes 0.03 to 1 s.
const AFTER_STOP: Duration = Duration::from_secs(10);

/// Reads what still comes of an answer whose client has all of it, and deletes its conversation.
pub(crate) async fn delete_conversation(mut relay: Box<Relay>) {
    drain(&mut relay, Instant::now() + AFTER_END, |_| false).await;
    relay.hold_rest();
    let Some(conversation) = relay.conversation() else { return };
    let path = format!("/v1/conversations/{conversation}");
    if tell(&mut relay, Method::DELETE, &path).await == Some(false) {
        relay.record.note_if_none("Dify did not delete the conversation of a side call");
    }
}

/// Stops a run of whose answer its client wants no more.
pub(crate) async fn cut_short(mut relay: Box<Relay>) {
    let until = Instant::now() + AFTER_STOP;
    drain(&mut relay, until, |relay| relay.task().is_some() || relay.run_ended()).await;
    if stop_run(&mut relay).await == Some(true) {
        relay.note_stopped("the answer was cut at a text of `stop`; the run was stopped");
    }
    drain(&mut relay, until, Relay::run_ended).await;
    relay.hold_rest();
}

/// Sees a run out whose client went away: stops it or drains it, as the app says.
pub(crate) async fn see_out(mut relay: Box<Relay>) {
    relay.record.end(Reason::ClientGone);
    let all = Instant::now() + relay.snapshot.timeouts.all_attempts;
    let stop = match relay.leaving.as_ref().map(|leaving| leaving.rule) {
        None | Some(OnDisconnect::Close) => return,
        Some(OnDisconnect::Drain) => false,
        Some(OnDisconnect::Stop | OnDisconnect::Fitting) => relay.is_event_stream(),
    };
    let (mut until, mut stopped) = (all, false);
    if stop {
        // The task is in the first event; before that there is nothing to stop. From 1.13 on the run may
        // wait in a queue for long, and begins whether its client is there or not. And while its instance
        // is away, there is nobody who could stop it.
        if relay.task().is_none() && !relay.run_ended() {
            relay.note_left_before_task();
        }
        let may_stop = |relay: &Relay| relay.task().is_some() && !relay.is_reconnecting();
        drain(&mut relay, until, |relay| may_stop(relay) || relay.run_ended()).await;
        match stop_run(&mut relay).await {
            Some(true) => {
                stopped = true;
                relay.note_stopped("the client went away; the run was stopped");
            }
            Some(false) => {
                relay.record.note("the client went away; Dify did not stop the run".into())
            }
            None => {}
        }
        until = all.min(Instant::now() + AFTER_STOP);
    }
    let done = drain(&mut relay, until, Relay::run_ended).await || relay.run_ended();
    // A stop may take effect only when the running node ends. An instance that does not even answer is
    // waited for no longer.
    if done || stopped {
        relay.hold_rest();
    }
    if done {
        relay.note_drained();
    } else {
        relay.record.note("the client went away; the run did not end in time".into());
    }
}

/// Reads on until `enough`, the answer's end (true) or the time is up.
async fn drain(relay: &mut Relay, until: Instant, enough: impl Fn(&Relay) -> bool) -> bool {
    while !enough(relay) {
        match timeout_at(until, std::future::poll_fn(|context| relay.poll_seen(context))).await {
            Ok(Seen::Piece) => {}
            Ok(Seen::End) => return true,
            Err(_) => return false,
        }
    }
    relay.is_over()
}

/// Asks Dify to stop the run. None if it is over or has not said its task.
async fn stop_run(relay: &mut Relay) -> Option<bool> {
    let task = relay.task()?;
    if relay.is_over() || relay.run_ended() {
        return None;
    }
    let path = match relay.leaving.as_ref()?.run {
        Run::Chat => format!("/v1/chat-messages/{task}/stop"),
        Run::Completion => format!("/v1/completion-messages/{task}/stop"),
        Run::Workflow => format!("/v1/workflows/tasks/{task}/stop"),
    };
    tell(relay, Method::POST, &path).await
}

/// Makes a call that says no more than the user, to the instance of the run. None without a user.
async fn tell(relay: &mut Relay, method: Method, path: &str) -> Option<bool> {
    let user = &relay.leaving.as_ref()?.user;
    let json = serde_json::json!({ "user": user }).to_string();
    let kind = HeaderValue::from_static("application/json");
    let body = Kept::Piece(json.into());
    let outbound = Outbound::own(method, path, kind, body, relay.record.request_id());
    let patience = Patience {
        now: Instant::now(),
        timeouts: &relay.snapshot.timeouts,
        first_byte: STOP_PATIENCE,
        until: Instant::now() + STOP_PATIENCE,
    };
    let (connections, member) = (&relay.worker.connections, &relay.member);
    let progress = Progress::default();
    let Ok(answer) = attempt(connections, member, &outbound, &progress, patience).await else {
        return Some(false);
    };
    let answer =
        classify_response::read(answer, member, connections, classify_response::MAX_BYTES).await;
    Some(answer.is_ok_and(|answer| answer.head.status.is_success()))
}
