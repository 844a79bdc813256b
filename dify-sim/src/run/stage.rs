//! Where a run is played: live on a connection, in the worker, or silently.
//!
//! One event is one chunk and one write; the head goes out with the first event. Pings come by
//! the clock of the run, whether or not other events flow.

use crate::live::{End, Heard, Live};
use crate::tasks::{By, Others, Stop};
use crate::wire::socket::Wire;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What a stream sends when it has nothing else to say.
pub(crate) const PING: &str = "event: ping\n\n";

/// Why a run does not go on.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its user asked for it.
    Stopped,
    /// Somebody else asked for it.
    Aborted,
    /// The client is gone, or the connection was cut by a fault.
    Gone,
}

impl From<io::Error> for Halt {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// How a run ended.
pub(crate) enum Outcome {
    /// With an answer; usage and annotation are JSON text. A workflow has the body of its blocking
    /// answer as answer, and nothing else.
    Done { answer: String, usage: String, annotation: String, end: End },
    /// With an error that ends a stream as an event and a blocking request with 400.
    Failed { code: &'static str, message: String },
    /// It waits for a human.
    Paused,
}

/// The head of a stream, sent with its first event.
pub(crate) struct Opening {
    pub(crate) head: String,
    /// Whether events are chunks; false for HTTP/1.0.
    pub(crate) chunked: bool,
    /// Whether the second event is to be cut in half.
    pub(crate) halved: bool,
}

/// Where events go.
enum Output<'a> {
    Silent,
    Wire(Sink<'a>),
    Worker(Arc<Live>),
}

pub(crate) struct Stage<'a> {
    output: Output<'a>,
    stop: Option<Arc<Stop>>,
    others: Others,
    started: Instant,
    next_ping: Instant,
    ping_interval: Duration,
}

impl<'a> Stage<'a> {
    fn new(output: Output<'a>, stop: Option<Arc<Stop>>, ping_interval: Duration) -> Self {
        // No ping at all is a ping in a hundred years.
        let ping_interval = if ping_interval.is_zero() {
            Duration::from_secs(100 * 365 * 86_400)
        } else {
            ping_interval
        };
        let started = Instant::now();
        let next_ping = started + ping_interval;
        Self { output, stop, others: Others::Spoil, started, next_ping, ping_interval }
    }

    pub(crate) fn silent() -> Self {
        Self::new(Output::Silent, None, Duration::ZERO)
    }

    pub(crate) fn live(sink: Sink<'a>, stop: Arc<Stop>, ping_interval: Duration) -> Self {
        Self::new(Output::Wire(sink), Some(stop), ping_interval)
    }

    pub(crate) fn worker(live: Arc<Live>, stop: Arc<Stop>, ping_interval: Duration) -> Self {
        Self::new(Output::Worker(live), Some(stop), ping_interval)
    }

    /// The same, with what others may do.
    pub(crate) fn with_others(mut self, others: Others) -> Self {
        self.others = others;
        self
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.output, Output::Silent)
    }

    /// Whether somebody else asked for a stop that is noticed only at the end.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.asked_by() == Some(By::Other))
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
        match &mut self.output {
            Output::Silent => {}
            Output::Wire(sink) => sink.send(&make()).await?,
            Output::Worker(live) => live.tell(&Heard::Event(make().into())),
        }
        Ok(())
    }

    /// Waits, with pings, until the time is over or a stop is asked for.
    pub(crate) async fn wait(&mut self, wait: Duration) -> Result<(), Halt> {
        self.check()?;
        if wait.is_zero() {
            return Ok(());
        }
        let until = Instant::now() + wait;
        while Instant::now() < until {
            let wake = if self.is_live() { self.next_ping.min(until) } else { until };
            match self.interrupted() {
                Some(stop) => tokio::select! {
                    () = stop.asked(self.others) => self.check()?,
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
        match &mut self.output {
            Output::Wire(sink) => sink.end().await,
            Output::Silent | Output::Worker(_) => Ok(()),
        }
    }

    fn interrupted(&self) -> Option<Arc<Stop>> {
        self.stop.clone()
    }

    fn check(&self) -> Result<(), Halt> {
        match self.stop.as_ref().and_then(|stop| stop.asked_by()) {
            Some(By::User) => Err(Halt::Stopped),
            Some(By::Other) if self.others == Others::Interrupt => Err(Halt::Aborted),
            _ => Ok(()),
        }
    }

    async fn ping(&mut self) -> Result<(), Halt> {
        if self.is_live() && Instant::now() >= self.next_ping {
            self.next_ping += self.ping_interval;
            self.last_event(|| PING.to_owned()).await?;
        }
        Ok(())
    }
}

/// The connection as a stream of events.
pub(crate) struct Sink<'a> {
    wire: &'a mut Wire,
    opening: Opening,
    sent: u64,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(wire: &'a mut Wire, opening: Opening) -> Self {
        Self { wire, opening, sent: 0 }
    }

    /// The instance's fault, as the connection sees it.
    pub(crate) fn fault(&self) -> crate::setup::Fault {
        self.wire.fault()
    }

    pub(crate) async fn send(&mut self, event: &str) -> Result<(), Halt> {
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

    pub(crate) async fn end(&mut self) -> Result<(), Halt> {
        let mut bytes = std::mem::take(&mut self.opening.head);
        if self.opening.chunked {
            bytes.push_str("0\r\n\r\n");
        }
        Ok(self.wire.write(bytes.as_bytes()).await?)
    }
}
