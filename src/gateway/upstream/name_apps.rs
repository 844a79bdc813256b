//! Asks Dify what it calls apps, where that is their model id.
//!
//! Each app has a task of its own on the prober's thread. It asks one instance after the other until one says
//! the name, again after a while, and where none does soon. Whoever asks takes a slot, as a probe does, and few
//! ask at a time: the places of a Dify are for users.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::adapter::app_info;
use crate::gateway::http::buffered_body::{BufferedBody, ReplayBody};
use crate::gateway::http::h1::io_buffers::IoBuffers;
use crate::gateway::http::send_state::SendState;
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::gateway::state::shared::Shared;
use crate::gateway::upstream::dial::dial;
use crate::gateway::upstream::h1::Connection;
use crate::gateway::upstream::own_request::{
    KEYED_PATH, USER_AGENT_NAME, unanswered, write_request_head,
};
use crate::model::AppName;

/// How many ask at a time.
const AT_ONCE: usize = 2;
/// How often one looks for apps that nobody asks for yet.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a name is taken for the app's.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// From one question that was not answered to the next, at most.
const MOST_BETWEEN: Duration = Duration::from_secs(30);
/// A busy Dify may take a second.
const PATIENCE: Duration = Duration::from_secs(3);
/// The description of an app is the longest part.
const ANSWER_BYTES: usize = 256 * 1024;

/// Keeps the names of all apps that Dify names, for as long as the process lives.
pub(crate) async fn name_apps(shared: Arc<Shared>) {
    let (mut tasks, mut running) = (JoinSet::new(), HashSet::new());
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        for app in &shared.snapshot().named_by_dify {
            if running.insert(app.name.clone()) {
                let (shared, turns) = (Arc::clone(&shared), Arc::clone(&turns));
                tasks.spawn_local(keep_named(shared, app.name.clone(), turns));
            }
        }
        sleep(LOOK_EVERY).await;
        while let Some(ended) = tasks.try_join_next() {
            if let Ok(name) = ended {
                running.remove(&name);
            }
        }
    }
}

/// Asks for one app's name until no configuration has the app.
async fn keep_named(shared: Arc<Shared>, name: AppName, turns: Arc<Semaphore>) -> AppName {
    let buffers = IoBuffers::new();
    let mut failures = 0;
    loop {
        let snapshot = shared.snapshot();
        let Some(app) = snapshot.named_by_dify.iter().find(|app| app.name == name).cloned() else {
            return name;
        };
        drop(snapshot);
        // It is never closed.
        let turn = turns.acquire().await.ok();
        let said = ask(&app, &buffers).await;
        drop(turn);
        failures = if said.is_ok() { 0 } else { failures + 1 };
        let fault = said.as_ref().err().cloned();
        let before = shared.app_names().learn(&name, said);
        if let Some(fault) = fault.filter(|fault| before.fault.as_ref() != Some(fault)) {
            match before.name {
                None => tracing::warn!(
                    "the app `{name}` (a key of `DIFY_API_KEYS`) is no model yet: {fault}; Dify is asked for its \
                     name until it says it"
                ),
                Some(named) => tracing::warn!("the app `{named}` keeps its name: {fault}"),
            }
        }
        let _ = timeout(again_in(failures), shared.app_names().asked_again()).await;
    }
}

/// How long after a question the next is asked, by how many in a row were not answered.
fn again_in(failures: u32) -> Duration {
    match failures {
        0 => FRESH,
        failures => Duration::from_secs(1 << (failures - 1).min(8)).min(MOST_BETWEEN),
    }
}

async fn ask(app: &App, buffers: &IoBuffers) -> Result<String, String> {
    let mut faults = Vec::new();
    for member in &app.pool.members {
        let asked = timeout(PATIENCE, ask_member(member, buffers)).await;
        let late = |_| Err(format!("no answer within {} s", PATIENCE.as_secs()));
        match asked.unwrap_or_else(late) {
            Ok(name) => return Ok(name),
            Err(fault) => faults.push(format!("{}: {fault}", member.name())),
        }
    }
    Err(faults.join("; "))
}

async fn ask_member(member: &Member, buffers: &IoBuffers) -> Result<String, String> {
    let instance = &member.instance;
    let _slot = instance.slots().try_take().ok_or("all connections are in use")?;
    let key = member.authorization.as_ref().ok_or("there is no key")?.expose();
    let mut key = HeaderValue::from_bytes(key).map_err(|error| error.to_string())?;
    key.set_sensitive(true);
    let host = instance.address().authority();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.try_into().map_err(|_| "its host cannot stand in a header")?);
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
    headers.insert(AUTHORIZATION, key);
    let stream = dial(instance).await.map_err(|error| error.to_string())?;
    let connection = Box::new(Connection::new(stream, buffers.clone()));
    let base_path = &instance.address().base_path;
    let head = |out: &mut Vec<u8>| {
        write_request_head(&Method::GET, [base_path, KEYED_PATH], &headers, out);
    };
    let body = ReplayBody::new(BufferedBody::EMPTY, SendState::default());
    // Who asks times all of it.
    let due = Instant::now() + 2 * PATIENCE;
    let response = connection.send_request(&Method::GET, head, body, due).await;
    let (head, body) = response.map_err(|(error, _)| unanswered(error).to_string())?;
    match head.status.as_u16() {
        200 => {}
        401 => return Err("Dify does not know the key (401)".to_owned()),
        status => return Err(format!("{KEYED_PATH} is answered with {status}")),
    }
    let body = Limited::new(body, ANSWER_BYTES).collect().await;
    app_info::name(&body.map_err(|error| error.to_string())?.to_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FRESH, MOST_BETWEEN, again_in};

    #[test]
    fn a_name_is_fresh_for_a_while_and_what_is_not_answered_is_asked_soon_again() {
        assert_eq!(again_in(0), FRESH);
        let seconds: Vec<_> = (1..=7).map(|failures| again_in(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(again_in(u32::MAX), MOST_BETWEEN);
        assert!(again_in(1) < Duration::from_secs(2));
    }
}
