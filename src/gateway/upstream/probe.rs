//! Asks every instance, all the time, whether it answers.
//!
//! The default probe is `GET /v1/`, which Dify answers without a key or a database, also behind its
//! own nginx (where `/health` leads to the web interface): with 200 up to 1.7, with a 404 page from 1.8
//! on. A probe is a connection like any other:
//! it takes one of the instance's slots, and where all of them are ours the instance is busy and
//! nothing is learned. Each [`ProbeTarget`] has a task of its own, which follows the snapshots, on a thread
//! that all of them share.
//!
//! Without its Redis, Dify from 1.12 on responses such probes and lets every request with a key hang. So
//! when requests with a key have got no first byte for a while ([`KeyedStall`]), the probe is
//! `GET /v1/info` with an app's key, and whatever answers it is good. Once it was not answered, all
//! probes are such until one is.
//!
//! [`KeyedStall`]: crate::balance::KeyedStall

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::balance::ProbeVerdict;
use crate::gateway::http::buffered_body::BufferedBody;
use crate::gateway::http::buffered_body::ReplayBody;
use crate::gateway::http::framing;
use crate::gateway::http::h1::io_buffers::IoBuffers;
use crate::gateway::http::send_state::SendState;
use crate::gateway::state::instance::{Headroom, IdleGuard, Instance};
use crate::gateway::state::probe_target::ProbeTarget;
use crate::gateway::state::shared::Shared;
use crate::gateway::state::slots::Slot;
use crate::gateway::upstream::attempt_error::chain;
use crate::gateway::upstream::dial::dial;
use crate::gateway::upstream::h1::Connection;
use crate::gateway::upstream::name_apps::name_apps;
use crate::gateway::upstream::own_request::{
    KEYED_PATH, USER_AGENT_NAME, unanswered, write_request_head,
};
use crate::gateway::upstream::probe_expect::verify;

/// For [`KEYED_PATH`], at least: a busy Dify may take a second.
const KEYED_PATIENCE: Duration = Duration::from_secs(2);

/// The thread that probes. It ends when this is dropped.
pub struct Prober {
    _stop: oneshot::Sender<Infallible>,
}

impl Prober {
    /// Probes whatever the snapshot of the moment names.
    ///
    /// # Errors
    /// The thread or its runtime could not be made.
    pub fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let mut runtime = Builder::new_current_thread();
        let mut runtime = move || runtime.enable_all().build_local(LocalOptions::default());
        thread::Builder::new().name("prober".to_owned()).spawn(move || match runtime() {
            Ok(runtime) => runtime.block_on(async {
                tokio::select! {
                    () = run(Arc::clone(&shared)) => {}
                    () = name_apps(shared) => {}
                    _ = stopped => {}
                }
            }),
            Err(error) => tracing::error!("probes cannot start: {error}"),
        })?;
        Ok(Self { _stop: stop })
    }
}

async fn run(shared: Arc<Shared>) {
    let buffers = IoBuffers::new();
    let mut tasks = JoinSet::new();
    let mut running: HashMap<u64, AbortHandle> = HashMap::new();
    loop {
        let snapshot = shared.snapshot();
        let named: HashSet<_> = snapshot.probed.iter().map(|probed| probed.id()).collect();
        running.retain(|id, task| {
            let stays = named.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
        for probed in &snapshot.probed {
            running.entry(probed.id()).or_insert_with(|| {
                let watch = watch(Arc::clone(&shared), Arc::clone(probed), buffers.clone());
                tasks.spawn_local(watch)
            });
        }
        drop(snapshot);
        shared.swapped().await;
        while tasks.try_join_next().is_some() {}
    }
}

/// Probe after probe. After one that failed the next begins at once if its time has come: the time
/// from one beginning to the next is what counts.
async fn watch(shared: Arc<Shared>, probed: Arc<ProbeTarget>, buffers: IoBuffers) {
    let mut place = None;
    for round in 0_u64.. {
        let began = Instant::now();
        let now_ms = shared.ms_at(began.into_std());
        let (verdict, text) = match place.take().or_else(|| ProbeSlot::take(probed.instance())) {
            Some(taken) => {
                let outcome = match probed.key_to_ask_with(now_ms) {
                    Some(key) => look_with_key(&probed, &buffers, &key, taken.room, &shared).await,
                    None => look(&probed, &buffers, began, taken.room).await,
                };
                place = Some(taken);
                outcome
            }
            None if probed.is_certainly_silent(now_ms) => {
                probed.found_silent();
                (ProbeVerdict::Bad, "GETs with a key get no answer".to_owned())
            }
            None => (ProbeVerdict::Busy, "busy: all connections are in use".to_owned()),
        };
        probed.settle(verdict, text, shared.now_ms());
        // Until it is certain, requests that hang there must not take the place of the probe that
        // finds out; but an only slot is theirs.
        let uncertain = verdict == ProbeVerdict::Bad && !probed.health().is_down();
        if !uncertain || probed.instance().slots().limit() == 1 {
            place = None;
        }
        let seed = probed.id() << 32 ^ round;
        let next_ms = probed.health().next_in_ms(probed.probe().rhythm, seed);
        sleep_until(began + Duration::from_millis(next_ms)).await;
    }
}

struct ProbeSlot {
    room: Headroom,
    _slot: Slot,
    /// Who finds no slot meanwhile waits for the probe to end, also where nobody may queue.
    _mark: IdleGuard,
}

impl ProbeSlot {
    fn take(instance: &Arc<Instance>) -> Option<Self> {
        let room = instance.room();
        let slot = instance.slots().try_take()?;
        Some(Self { room, _slot: slot, _mark: instance.mark_idle() })
    }
}

async fn look(
    probed: &ProbeTarget,
    buffers: &IoBuffers,
    began: Instant,
    room: Headroom,
) -> (ProbeVerdict, String) {
    let (instance, probe) = (probed.instance(), probed.probe());
    let limit = probe.timeout;
    let asked = timeout(limit, ask(probed, buffers)).await;
    let took = began.elapsed();
    match asked {
        Ok(Ok(response)) => {
            instance.probes().duration.observe(took);
            let millis = took.as_secs_f64() * 1000.0;
            let text = format!("{} in {millis:.1} ms", response.status);
            match response.fault {
                None => (ProbeVerdict::Good, text),
                Some(fault) => (ProbeVerdict::Bad, format!("{text}{fault}")),
            }
        }
        Ok(Err(error)) => (ProbeVerdict::Bad, chain(&error)),
        Err(_) => {
            let seconds = limit.as_secs_f64();
            let text = format!("no answer within {seconds} s");
            if room == Headroom::Last {
                (ProbeVerdict::Busy, format!("busy: {text}, and all connections are in use"))
            } else if took > limit + limit / 2 {
                // This machine stood still; whether the instance did, nobody knows.
                (ProbeVerdict::Busy, format!("{text}, but the gateway itself was late"))
            } else {
                (ProbeVerdict::Bad, text)
            }
        }
    }
}

/// Asks whether requests with a key are answered, however.
async fn look_with_key(
    probed: &ProbeTarget,
    buffers: &IoBuffers,
    key: &HeaderValue,
    room: Headroom,
    shared: &Shared,
) -> (ProbeVerdict, String) {
    let limit = probed.probe().timeout.max(KEYED_PATIENCE);
    let began = Instant::now();
    let asked = timeout(limit, ask_with_key(probed, buffers, key, limit)).await;
    let took = began.elapsed();
    match asked {
        Ok(Ok(status)) => {
            probed.found_answering(shared.now_ms());
            let millis = took.as_secs_f64() * 1000.0;
            (ProbeVerdict::Good, format!("{KEYED_PATH} with a key: {status} in {millis:.1} ms"))
        }
        Ok(Err(error)) => (ProbeVerdict::Bad, chain(&error)),
        Err(_) => {
            let text =
                format!("{KEYED_PATH} with a key: no answer within {} s", limit.as_secs_f64());
            if room == Headroom::Last {
                return (
                    ProbeVerdict::Busy,
                    format!("busy: {text}, and all connections are in use"),
                );
            }
            if took > limit + limit / 2 {
                return (ProbeVerdict::Busy, format!("{text}, but the gateway itself was late"));
            }
            probed.found_silent();
            (ProbeVerdict::Bad, format!("{text}; is Dify's Redis away?"))
        }
    }
}

async fn ask_with_key(
    probed: &ProbeTarget,
    buffers: &IoBuffers,
    key: &HeaderValue,
    limit: Duration,
) -> io::Result<u16> {
    let connection = Box::new(Connection::new(dial(probed.instance()).await?, buffers.clone()));
    let mut headers = headers(probed)?;
    headers.insert(AUTHORIZATION, key.clone());
    let base_path = &probed.instance().address().base_path;
    let head = |out: &mut Vec<u8>| {
        write_request_head(&Method::GET, [base_path, KEYED_PATH], &headers, out);
    };
    let body = ReplayBody::new(BufferedBody::EMPTY, SendState::default());
    let due = Instant::now() + 2 * limit;
    let response = connection.send_request(&Method::GET, head, body, due).await;
    let (head, _) = response.map_err(|(error, _)| unanswered(error))?;
    Ok(head.status.as_u16())
}

struct ProbeResponse {
    status: u16,
    /// What is wrong with it, to be read behind its status.
    fault: Option<String>,
}

async fn ask(probed: &ProbeTarget, buffers: &IoBuffers) -> io::Result<ProbeResponse> {
    let (instance, probe) = (probed.instance(), probed.probe());
    let connection = Box::new(Connection::new(dial(instance).await?, buffers.clone()));
    let headers = headers(probed)?;
    let head = |out: &mut Vec<u8>| {
        let path = [&*instance.address().base_path, probe.path.as_str()];
        write_request_head(&probe.method, path, &headers, out);
    };
    let body = ReplayBody::new(BufferedBody::EMPTY, SendState::default());
    // Who asks times the whole of a probe, and has to be the first to see that it is late.
    let due = Instant::now() + 2 * probe.timeout;
    let response = connection.send_request(&probe.method, head, body, due).await;
    let (head, body) = response.map_err(|(error, _)| unanswered(error))?;
    if let Some(what) = framing::fault_of_answer(&head) {
        return Err(io::Error::other(format!("an answer that cannot be passed on: {what}")));
    }
    let (status, headers) = (head.status, head.headers.to_map());
    if let Some(version) = headers.get("x-version").and_then(|value| value.to_str().ok()) {
        instance.learn_version(version);
    }
    let fault = verify(probe, (status, &headers), body).await?;
    Ok(ProbeResponse { status: status.as_u16(), fault })
}

/// The headers of a probe. What is configured counts for more than the usual.
fn headers(probed: &ProbeTarget) -> io::Result<HeaderMap> {
    let probe = probed.probe();
    let mut headers = HeaderMap::new();
    let host = probed.instance().address().authority();
    headers.insert(HOST, host.try_into().map_err(io::Error::other)?);
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
    for (name, value) in &probe.headers {
        headers.insert(name, value.clone());
    }
    Ok(headers)
}
