//! Asks every instance, all the time, whether it answers.
//!
//! The default probe is `GET /v1/`, which Dify answers without a key or a database, also behind its
//! own nginx (where `/health` leads to the web interface): with 200 up to 1.7, with a 404 page from 1.8
//! on. A probe is a connection like any other:
//! it takes one of the instance's slots, and where all of them are ours the instance is busy and
//! nothing is learned. Each [`Probed`] has a task of its own, which follows the snapshots.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{HOST, USER_AGENT};
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::balance::ProbeVerdict;
use crate::gateway::dial::dial;
use crate::gateway::failure::chain;
use crate::gateway::instance::{IdleMark, Instance, Room, Slot};
use crate::gateway::probe_expect::verify;
use crate::gateway::probed::Probed;
use crate::gateway::shared::Shared;

const USER_AGENT_NAME: &str = concat!("difygate/", env!("CARGO_PKG_VERSION"));

/// Probes whatever the snapshot of the moment names, for as long as the process lives.
pub async fn run(shared: Arc<Shared>) {
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
            running
                .entry(probed.id())
                .or_insert_with(|| tasks.spawn(watch(Arc::clone(&shared), Arc::clone(probed))));
        }
        drop(snapshot);
        shared.swapped().await;
        while tasks.try_join_next().is_some() {}
    }
}

/// Probe after probe. After one that failed the next begins at once if its time has come: the time
/// from one beginning to the next is what counts.
async fn watch(shared: Arc<Shared>, probed: Arc<Probed>) {
    let mut place = None;
    for round in 0_u64.. {
        let began = Instant::now();
        let (verdict, text) = match place.take().or_else(|| Place::take(probed.instance())) {
            Some(taken) => {
                let outcome = look(&probed, began, taken.room).await;
                place = Some(taken);
                outcome
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

/// A slot for probing.
struct Place {
    room: Room,
    _slot: Slot,
    /// Who finds no slot meanwhile waits for the probe to end, also where nobody may queue.
    _mark: IdleMark,
}

impl Place {
    fn take(instance: &Arc<Instance>) -> Option<Self> {
        let room = instance.room();
        let slot = instance.slots().try_take()?;
        Some(Self { room, _slot: slot, _mark: instance.mark_idle() })
    }
}

async fn look(probed: &Probed, began: Instant, room: Room) -> (ProbeVerdict, String) {
    let (instance, probe) = (probed.instance(), probed.probe());
    let limit = probe.timeout;
    let asked = timeout(limit, ask(probed)).await;
    let took = began.elapsed();
    match asked {
        Ok(Ok(answer)) => {
            instance.probes().duration.observe(took);
            let millis = took.as_secs_f64() * 1000.0;
            let text = format!("{} in {millis:.1} ms", answer.status);
            match answer.fault {
                None => (ProbeVerdict::Good, text),
                Some(fault) => (ProbeVerdict::Bad, format!("{text}{fault}")),
            }
        }
        Ok(Err(error)) => (ProbeVerdict::Bad, chain(&error)),
        Err(_) => {
            let seconds = limit.as_secs_f64();
            let text = format!("no answer within {seconds} s");
            if room == Room::Last {
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

/// An answer to a probe.
struct Answer {
    status: u16,
    /// What is wrong with it, to be read behind its status.
    fault: Option<String>,
}

async fn ask(probed: &Probed) -> io::Result<Answer> {
    let stream = dial(probed.instance()).await?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut connection = Box::pin(connection);
    let exchange = exchange(probed, sender);
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer.map_err(io::Error::other),
        ended = &mut connection => {
            // What came before the end has not been looked at yet.
            drop(connection);
            let why = match ended {
                Ok(()) => io::Error::other("the connection was closed"),
                Err(error) => io::Error::other(error),
            };
            exchange.await.map_err(|_| why)
        }
    }
}

async fn exchange(
    probed: &Probed,
    mut sender: SendRequest<Empty<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let probe = probed.probe();
    let mut request = Request::builder()
        .method(probe.method.clone())
        .uri(probe.path.as_str())
        .body(Empty::<Bytes>::new())?;
    let headers = request.headers_mut();
    headers.insert(HOST, probed.instance().address().authority().try_into()?);
    headers.insert(USER_AGENT, http::HeaderValue::from_static(USER_AGENT_NAME));
    for (name, value) in &probe.headers {
        headers.insert(name, value.clone());
    }
    let response = sender.send_request(request).await?;
    if let Some(version) = response.headers().get("x-version").and_then(|v| v.to_str().ok()) {
        probed.instance().learn_version(version);
    }
    let status = response.status().as_u16();
    let fault = verify(probe, response).await?;
    Ok(Answer { status, fault })
}
