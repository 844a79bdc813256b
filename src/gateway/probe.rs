//! Brings instances back that were taken out for being unreachable.
//!
//! Only those are probed: the rest of active health checking is not here yet. A probe is `GET /v1/`,
//! which Dify answers without a key or a database, also behind its own nginx (where `/health` leads
//! to the web interface).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::balance::{BreakerState, Cause};
use crate::gateway::instance::{Instance, resolve};
use crate::gateway::shared::Shared;

/// Between two probes of an instance that is out.
const INTERVAL: Duration = Duration::from_millis(250);
/// For the whole of a probe.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Probes what is out, for as long as the process lives.
pub async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probes = JoinSet::new();
    loop {
        ticks.tick().await;
        while probes.try_join_next().is_some() {}
        let now_ms = shared.now_ms();
        for instance in shared.snapshot().instances() {
            let breaker = instance.breaker();
            let out = breaker.state(now_ms) != BreakerState::Closed;
            if out && breaker.cause() == Cause::Unreachable {
                probes.spawn(probe(Arc::clone(instance)));
            }
        }
    }
}

async fn probe(instance: Arc<Instance>) {
    let Some(_probing) = instance.begin_probe() else { return };
    // A probe is a connection like any other; where all slots are ours, the instance is busy and
    // nothing is learned.
    let Some(_slot) = instance.slots().try_take() else { return };
    let good = matches!(timeout(TIMEOUT, ask(&instance)).await,
        Ok(Ok(status)) if status.is_success() || status.is_redirection());
    if good && instance.breaker().probed_well() {
        tracing::info!(
            "instance {} is back in rotation: its probe was answered",
            instance.address()
        );
    }
}

async fn ask(instance: &Instance) -> io::Result<StatusCode> {
    let addresses = resolve(instance.address()).await?;
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get("/v1/")
        .header(HOST, instance.address().to_string())
        .header(USER_AGENT, concat!("difygate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    tokio::select! {
        biased;
        answer = sender.send_request(request) => Ok(answer.map_err(io::Error::other)?.status()),
        ended = connection => {
            let cause = ended.err().map_or_else(|| "closed".to_owned(), |error| error.to_string());
            Err(io::Error::other(cause))
        }
    }
}
