//! Where a run is played: live on a connection, or silently.
//!
//! One event is one chunk and one write; the head goes out with the first event. Pings come by
//! the clock of the run, whether or not other events flow.

use super::Opening;
use crate::tasks::Stop;
use crate::wire::socket::Wire;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Why a run does not go on.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its user asked for it.
    Stopped,
    /// The client is gone, or the connection was cut by a fault.
    Gone,
}

impl From<io::Error> for Halt {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

pub(crate) struct Stage<'a> {
    sink: Option<Sink<'a>>,
    stop: Option<Arc<Stop>>,
    started: Instant,
}

impl<'a> Stage<'a> {
    pub(crate) fn silent() -> Self {
        Self { sink: None, stop: None, started: Instant::now() }
    }

    pub(crate) fn live(sink: Sink<'a>, stop: Arc<Stop>) -> Self {
        Self { sink: Some(sink), stop: Some(stop), started: Instant::now() }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.sink.is_some()
    }

    /// Seconds since the run began, to the microsecond.
    pub(crate) fn elapsed(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e6
    }

    /// Sends an event, unless a stop was asked for. A silent stage does not even make it.
    pub(crate) async fn event(&mut self, make: impl FnOnce() -> String) -> Result<(), Halt> {
        self.check()?;
        self.last_event(make).await
    }

    /// Sends an event even after a stop.
    pub(crate) async fn last_event(&mut self, make: impl FnOnce() -> String) -> Result<(), Halt> {
        match &mut self.sink {
            Some(sink) => sink.send(&make()).await,
            None => Ok(()),
        }
    }

    /// Waits, with pings, until the time is over or a stop is asked for.
    pub(crate) async fn wait(&mut self, wait: Duration) -> Result<(), Halt> {
        self.check()?;
        if wait.is_zero() {
            return Ok(());
        }
        let until = Instant::now() + wait;
        while Instant::now() < until {
            let wake = self.sink.as_ref().map_or(until, |sink| sink.next_ping.min(until));
            match &self.stop {
                Some(stop) => tokio::select! {
                    () = stop.asked() => return Err(Halt::Stopped),
                    () = sleep_until(wake) => {}
                },
                None => sleep_until(wake).await,
            }
            self.ping().await?;
        }
        Ok(())
    }

    /// The same, but deaf to stops.
    pub(crate) async fn wait_unstopped(&mut self, wait: Duration) -> Result<(), Halt> {
        self.stop = None;
        self.wait(wait).await
    }

    /// A wait that belongs to streams only.
    pub(crate) async fn pause(&mut self, wait: Duration) -> Result<(), Halt> {
        if self.is_live() { self.wait(wait).await } else { Ok(()) }
    }

    /// The end of the stream.
    pub(crate) async fn end(&mut self) -> Result<(), Halt> {
        match &mut self.sink {
            Some(sink) => sink.end().await,
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Halt> {
        match &self.stop {
            Some(stop) if stop.is_asked() => Err(Halt::Stopped),
            _ => Ok(()),
        }
    }

    async fn ping(&mut self) -> Result<(), Halt> {
        if let Some(sink) = &mut self.sink
            && Instant::now() >= sink.next_ping
        {
            sink.next_ping += sink.ping_interval;
            sink.send("event: ping\n\n").await?;
        }
        Ok(())
    }
}

/// The connection as a stream of events.
pub(crate) struct Sink<'a> {
    wire: &'a mut Wire,
    opening: Opening,
    sent: u64,
    next_ping: Instant,
    ping_interval: Duration,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(wire: &'a mut Wire, opening: Opening, ping_interval: Duration) -> Self {
        // No ping at all is a ping in a hundred years.
        let ping_interval = if ping_interval.is_zero() {
            Duration::from_secs(100 * 365 * 86_400)
        } else {
            ping_interval
        };
        Self { wire, opening, sent: 0, next_ping: Instant::now() + ping_interval, ping_interval }
    }

    async fn send(&mut self, event: &str) -> Result<(), Halt> {
        let mut bytes = std::mem::take(&mut self.opening.head);
        if self.opening.halved && self.sent == 1 {
            self.wire.cut_after(event.len() as u64 / 2);
        }
        self.sent += 1;
        if self.opening.chunked {
            bytes.reserve(event.len() + 16);
            bytes.push_str(&format!("{:x}\r\n", event.len()));
            bytes.push_str(event);
            bytes.push_str("\r\n");
        } else {
            bytes.push_str(event);
        }
        Ok(self.wire.write(bytes.as_bytes()).await?)
    }

    async fn end(&mut self) -> Result<(), Halt> {
        let mut bytes = std::mem::take(&mut self.opening.head);
        if self.opening.chunked {
            bytes.push_str("0\r\n\r\n");
        }
        Ok(self.wire.write(bytes.as_bytes()).await?)
    }
}
