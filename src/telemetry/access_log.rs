//! The access log: one line for each request that ended.
//!
//! A worker collects lines in a [`Batch`] and hands it to the writer's thread when it is full or
//! when its tick comes, so no request waits for a disk or a pipe. The way to the writer is bounded:
//! when the reader of the log is too slow, whole batches are dropped and counted.

use std::fmt::{self, Display, Formatter};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Serialize, Serializer};

use crate::telemetry::counters::Counter;

/// Batches that may wait for the writer.
const QUEUE: usize = 256;
/// Users and paths are for operators and whoever reads logs for them; a file that is there keeps its own.
const MODE: u32 = 0o640;
/// A batch is handed over when it holds this many bytes.
const BATCH_BYTES: usize = 16 * 1024;

/// One request, as the access log tells it. It holds no secret: `key` is a name or a fingerprint.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// When the request's head was complete.
    pub time: Timestamp,
    /// `X-Request-ID`.
    pub request_id: &'a str,
    /// The client's address, seen through trusted proxies.
    pub client: IpAddr,
    /// HTTP method.
    pub method: &'a str,
    /// Path and query as received.
    pub path: &'a str,
    /// Status sent to the client; 499 if it went away before one was sent.
    pub status: u16,
    /// Why it ended so: a label of the closed list of reasons.
    pub reason: &'a str,
    /// The app, once known.
    pub app: Option<&'a str>,
    /// The key that it came by: its name, or the fingerprint of a user token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The user id, once known.
    pub user: Option<&'a str>,
    /// The instance whose answer was passed on.
    pub instance: Option<&'a str>,
    /// Attempts that gave no answer to pass on, in their order.
    #[serde(skip_serializing_if = "<[FailedAttempt<'_>]>::is_empty")]
    pub failed_attempts: &'a [FailedAttempt<'a>],
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Tokens of the question, where Dify said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer, where Dify said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// Tokens of the run, where Dify said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// Milliseconds until the answer's head was sent, if one was.
    pub first_byte_ms: Option<f64>,
    /// Milliseconds until the end.
    pub duration_ms: f64,
    /// More for the operator, where there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// HTTP version of the client's request.
    pub protocol: &'static str,
    /// `Referer`.
    #[serde(skip)]
    pub referer: Option<&'a str>,
    /// `User-Agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<&'a str>,
}

/// An attempt that gave no answer to pass on. It is written as `instance: why`.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt<'a> {
    /// Who was asked.
    pub instance: &'a str,
    /// A label of the closed list of reasons, or `not_here`.
    pub why: &'static str,
}

impl Display for FailedAttempt<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.instance, self.why)
    }
}

impl Serialize for FailedAttempt<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Apache's and nginx's combined format.
    Combined,
    /// For a person who watches: when it ended, user, instance, status, time. Each line is written at
    /// once.
    Live,
    /// The same, in colour.
    LiveInColour,
}

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, appended to, opened again by [`AccessLog::reopen`].
    File(PathBuf),
}

enum Message {
    Lines(Vec<u8>),
    Reopen,
}

/// The workers' end of the log: cheap to clone.
#[derive(Clone)]
pub struct Sink {
    format: Format,
    writer: SyncSender<Message>,
    dropped: Arc<Counter>,
}

impl Sink {
    /// Batches that were dropped: the writer could not keep up, or could not write them.
    pub fn dropped(&self) -> Arc<Counter> {
        Arc::clone(&self.dropped)
    }
}

/// The log itself. Dropping it writes what is left.
pub struct AccessLog {
    sink: Sink,
    thread: JoinHandle<()>,
}

impl AccessLog {
    /// Opens the destination and starts the writer's thread.
    ///
    /// # Errors
    /// The file cannot be opened for appending; the text names it.
    pub fn start(format: Format, destination: Destination) -> io::Result<Self> {
        let output = Output::open(destination)?;
        let (writer, lines) = sync_channel(QUEUE);
        let dropped = Arc::<Counter>::default();
        let lost = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write(output, lines, &lost))?;
        Ok(Self { sink: Sink { format, writer, dropped }, thread })
    }

    /// The end for workers.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Opens the file again, after a rotation moved it away.
    pub fn reopen(&self) {
        // A full queue means the writer is behind; the next signal comes.
        let _ = self.sink.writer.try_send(Message::Reopen);
    }

    /// Waits until all that was handed over is written. All sinks must be gone.
    pub fn finish(self) {
        drop(self.sink);
        // The thread cannot panic; if it did, there is nothing left to write.
        let _ = self.thread.join();
    }
}

/// A worker's lines that wait to be handed over.
pub struct Batch {
    sink: Option<Sink>,
    lines: Vec<u8>,
}

impl Batch {
    /// An empty batch; without a sink nothing is ever written.
    pub fn new(sink: Option<Sink>) -> Self {
        Self { sink, lines: Vec::new() }
    }

    /// Whether lines are written at all.
    pub fn is_written(&self) -> bool {
        self.sink.is_some()
    }

    /// Adds a line.
    pub fn push(&mut self, entry: &Entry<'_>) {
        let Some(sink) = &self.sink else { return };
        // Writing to memory does not fail, and an entry has no map with keys that are not text.
        let _ = match sink.format {
            Format::Json => serde_json::to_writer(&mut self.lines, entry).map_err(io::Error::from),
            Format::Combined => combined(&mut self.lines, entry),
            Format::Live => live(&mut self.lines, entry, ["", ""]),
            Format::LiveInColour => live(&mut self.lines, entry, [colour(entry.status), RESET]),
        };
        self.lines.push(b'\n');
        // Lines of several workers stand in the order of time, and so do those of the error log.
        let is_watched = matches!(sink.format, Format::Live | Format::LiveInColour);
        if is_watched || self.lines.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands the lines to the writer, or drops and counts them if it is too far behind.
    pub fn flush(&mut self) {
        let Some(sink) = &self.sink else { return };
        if self.lines.is_empty() {
            return;
        }
        if sink.writer.try_send(Message::Lines(std::mem::take(&mut self.lines))).is_err() {
            sink.dropped.add_one();
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.flush();
    }
}

/// `"` and control characters must not let a header write a line of its own.
fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "-".into(), |text| text.escape_debug().to_string())
}

fn combined(line: &mut Vec<u8>, entry: &Entry<'_>) -> io::Result<()> {
    let time = entry.time.to_zoned_datetime(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
    write!(
        line,
        "{} - {} [{time}] \"{} {} {}\" {} {} \"{}\" \"{}\"",
        entry.client,
        quoted(entry.user).replace(' ', "%20"),
        entry.method,
        quoted(Some(entry.path)),
        entry.protocol,
        entry.status,
        entry.bytes_out,
        quoted(entry.referer),
        quoted(entry.user_agent),
    )
}

const RESET: &str = "\u{1b}[0m";

/// Green for what went well, yellow for what was the client's fault, red for the rest.
fn colour(status: u16) -> &'static str {
    match status {
        ..400 => "\u{1b}[32m",
        400..500 => "\u{1b}[33m",
        _ => "\u{1b}[1;31m",
    }
}

/// `marks` stand around the status.
fn live(line: &mut Vec<u8>, entry: &Entry<'_>, marks: [&str; 2]) -> io::Result<()> {
    let path = entry.path.split('?').next().unwrap_or_default();
    let took = SignedDuration::from_micros((entry.duration_ms * 1000.0) as i64);
    let ended = entry.time.checked_add(took).unwrap_or(entry.time);
    let [mark, unmark] = marks;
    write!(
        line,
        "{} {:>14} -> {:<8} {mark}{}{unmark} {:>7.1} ms  {} {path}",
        ended.to_zoned_datetime(TimeZone::UTC).strftime("%H:%M:%S"),
        quoted(entry.user),
        entry.instance.unwrap_or("-"),
        entry.status,
        entry.duration_ms,
        entry.method,
    )?;
    if entry.reason != "answered" {
        write!(line, "  ({})", entry.reason)?;
    }
    if let [first, ..] = entry.failed_attempts {
        write!(line, "  after {first}")?;
    }
    Ok(())
}

struct Output {
    destination: Destination,
    file: Option<File>,
}

impl Output {
    fn open(destination: Destination) -> io::Result<Self> {
        let file = match &destination {
            Destination::Stdout => None,
            Destination::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).mode(MODE).open(path);
                Some(opened.map_err(|error| {
                    io::Error::new(error.kind(), format!("access log {}: {error}", path.display()))
                })?)
            }
        };
        Ok(Self { destination, file })
    }

    fn write_all(&mut self, lines: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(lines),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
        }
    }
}

/// Writes what comes; batches that cannot be written are lost and counted.
fn write(mut output: Output, messages: Receiver<Message>, lost: &Counter) {
    let mut fails = false;
    for message in messages {
        let done = match message {
            Message::Lines(lines) => {
                let done = output.write_all(&lines);
                if done.is_err() {
                    lost.add_one();
                }
                done
            }
            Message::Reopen => Output::open(output.destination.clone()).map(|again| output = again),
        };
        // The old file stays in use, and requests go on: a log is worth less than an answer.
        match (done, fails) {
            (Err(error), false) => {
                tracing::error!("access log: {error}; lines are lost until it works")
            }
            (Ok(()), true) => tracing::info!("the access log works again"),
            (Err(_), true) | (Ok(()), false) => continue,
        }
        fails = !fails;
    }
}

#[cfg(test)]
mod tests;
