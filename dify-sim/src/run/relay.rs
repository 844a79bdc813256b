//! The API's part of a stream whose run is done by the worker: it passes on what it hears.
//!
//! The API writes nothing of its own but the first ping, and at `/events` a ping now and then; so a
//! silent stream holds its connection until the silence is too long, even if its client has left.

use super::stage::{Halt, Opening, PING, Sink};
use crate::live::{End, Heard};
use crate::setup::{Fault, Pace};
use crate::wire::socket::Wire;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};

/// What a stream passes on.
pub(crate) struct Source {
    /// Events that come before what is heard.
    pub(crate) first: Vec<String>,
    /// What is heard; nothing more if there is none.
    pub(crate) heard: Option<UnboundedReceiver<Heard>>,
    pub(crate) pings: Pings,
    /// Whether a pause ends the stream.
    pub(crate) pause: Pause,
}

/// Whether the API pings by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pings {
    First,
    Always,
}

/// What a stream does when its run pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    Ends,
    Waits,
}

/// Sends what comes first, and no end.
pub(crate) async fn cut(source: &Source, wire: &mut Wire, head: Opening) -> Result<(), Halt> {
    let mut sink = Sink::new(wire, head);
    for event in &source.first {
        sink.send(event).await?;
    }
    Err(Halt::Gone)
}

/// Passes a run's events on to this connection.
pub(crate) async fn relay(
    source: Source,
    wire: &mut Wire,
    head: Opening,
    pace: Pace,
) -> Result<(), Halt> {
    let mut sink = Sink::new(wire, head);
    for event in &source.first {
        sink.send(event).await?;
    }
    let Some(mut heard) = source.heard else { return sink.end().await };
    let mut next_ping = Instant::now() + pace.ping_interval;
    let mut silent = Instant::now() + pace.silence;
    let pings = source.pings == Pings::Always && !pace.ping_interval.is_zero();
    let mut open = true;
    loop {
        let wake = if pings { next_ping.min(silent) } else { silent };
        tokio::select! {
            biased;
            said = heard.recv(), if open => match said {
                Some(Heard::Event(event)) => {
                    // Who pings by itself does not pass on the worker's pings.
                    if sink.fault() == Fault::RedisDown || pings && &*event == PING {
                        continue;
                    }
                    silent = Instant::now() + pace.silence;
                    sink.send(&event).await?;
                }
                Some(Heard::Paused) if source.pause == Pause::Waits => {}
                Some(Heard::Paused | Heard::Over(End::Lingering)) => {
                    sleep(pace.linger).await;
                    return sink.end().await;
                }
                Some(Heard::Over(End::AtOnce)) => return sink.end().await,
                // What would end the stream is not coming: its worker was killed, for example.
                Some(Heard::Over(End::Open)) | None => open = false,
            },
            () = sleep_until(wake) => {
                let now = Instant::now();
                if now >= silent {
                    return sink.end().await;
                }
                if pings && now >= next_ping {
                    next_ping = now + pace.ping_interval;
                    sink.send(PING).await?;
                }
            }
        }
    }
}
