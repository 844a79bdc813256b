//! Small requests beside bodies of 30 MB: how long the small ones wait, compared with a quiet moment of
//! the same round.
//!
//! One client sends bodies of a kind, one after the other and at the pace of a good line, so that one is
//! always on its way or being worked on; the bytes it sends and the instance reads are the same whoever
//! stands between. What the generator and the instance themselves make of it, which share a core, is seen
//! without a proxy ([`DIRECT`]). Deliberately absent: the price of a large body, which `upload` has.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::speed::cell::{Cell, median};
use crate::speed::line::{Expected, Line};
use crate::speed::load::{Counts, Done, Going};
use crate::speed::round::Stage;
use crate::speed::scene::{chat, key, token};
use crate::speed::work::{FORM, To, Work, upload};

/// Size of a body.
const BYTES: usize = 30_000_000;
/// Size of a native one of JSON: what people send beyond it are files.
const NATIVE_BYTES: usize = 14_000_000;
/// What is sent at a time, and how often: about half a gigabit a second.
const PIECE: (usize, Duration) = (64 * 1024, Duration::from_millis(1));
/// An answer that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// Large bodies of one kind.
#[derive(Debug)]
pub struct Large {
    /// What stands before the median of the rounds' ratios.
    pub what: &'static str,
    path: &'static str,
    kind: &'static str,
    body: fn() -> String,
}

const JSON: &str = "application/json";
const COMPLETIONS: &str = "chat/completions";

const FILE: Large =
    Large { what: "× p99 beside a form", path: "files/upload", kind: FORM, body: form };

/// What is sent past the proxy.
pub const DIRECT: &Large = &Large { what: "× p99 beside a form, without a proxy", ..FILE };

/// All kinds.
pub const KINDS: &[Large] = &[
    Large { what: "× p99 beside a text", path: COMPLETIONS, kind: JSON, body: text },
    Large { what: "× p99 beside a picture", path: COMPLETIONS, kind: JSON, body: picture },
    Large { what: "× p99 beside 90,000 parts", path: COMPLETIONS, kind: JSON, body: parts },
    FILE,
    Large { what: "× p99 beside native JSON", path: "chat-messages", kind: JSON, body: native },
];

impl Large {
    /// Sends one client to work.
    ///
    /// # Errors
    /// No thread.
    pub fn start(&'static self, to: To, core: usize) -> anyhow::Result<Going> {
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        Going::start(core, counts, async move {
            let (request, mut done) = (self.request(to), Done::default());
            while !theirs.ending.load(Ordering::Relaxed) {
                match timeout(LIMIT, exchange(to, &request)).await {
                    Ok(Ok(())) => {
                        theirs.done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(Err(why)) => done.fail(why),
                    Err(_) => done.fail("timeout".to_owned()),
                }
            }
            done
        })
    }

    fn request(&self, to: To) -> Vec<u8> {
        let (host, token) = match to {
            To::Proxy(host) => (host, token(0)),
            To::Instance(host) => (host, key(0, 0)),
        };
        let (path, kind, body) = (self.path, self.kind, (self.body)());
        let head = format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             User-Agent: bench/1\r\nAccept: */*\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    }
}

impl Stage {
    /// How long clients wait in a quiet moment, and beside each kind of large body. Each kind has a quiet
    /// moment of its own right before: machines change their speed.
    pub(super) async fn beside(&self, work: &Work, to: To, cell: &mut Cell) -> anyhow::Result<()> {
        let mut all: Vec<_> = KINDS.iter().map(|large| (large, to)).collect();
        all.extend(self.instances.addresses.first().map(|to| (DIRECT, To::Instance(*to))));
        for (large, to) in all {
            let quiet = self.waited(work, to).await?.context("nobody was answered")?;
            if large.what != DIRECT.what {
                cell.waited_us.push(quiet);
            }
            let ratio = self.waited_beside(large, work, to).await? / quiet.1;
            cell.beside.entry(large.what).or_default().push(ratio);
        }
        let rounds = cell.beside.iter();
        cell.more.extend(rounds.filter_map(|(what, ratios)| Some((*what, median(ratios)?))));
        Ok(())
    }

    /// The 99th percentile beside bodies of a kind, in microseconds.
    async fn waited_beside(
        &self,
        large: &'static Large,
        work: &Work,
        to: To,
    ) -> anyhow::Result<f64> {
        let going = large.start(to, self.cores.ours)?;
        // At least one has come and gone.
        let waited = self.waited_while(work, to, || going.done() == 0).await?;
        let (sent, done) = (going.done(), going.end()?);
        let failure = done.failures.keys().next().map_or("none was answered", String::as_str);
        ensure!(sent > 0 && done.failures.is_empty(), "{}: {failure}", large.what);
        Ok(waited.context("nobody was answered")?.1)
    }
}

async fn exchange(to: To, request: &[u8]) -> Result<(), String> {
    let (To::Proxy(target) | To::Instance(target)) = to;
    let mut line = Line::open(target).await?;
    let (bytes, every) = PIECE;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for piece in request.chunks(bytes) {
        ticks.tick().await;
        line.send(piece).await?;
    }
    line.answer(Expected::Made(200)).await.map(|_| ())
}

fn asked(messages: &str) -> String {
    format!("{{\"model\": \"app0000\", \"user\": \"user-00000\", \"messages\": [{messages}]}}")
}

fn text() -> String {
    let line = "what is the \\\"shortest\\\" way from here to there?\\n";
    asked(&format!("{{\"role\": \"user\", \"content\": \"{}\"}}", line.repeat(BYTES / line.len())))
}

/// The run that asks about it is small, and only in brief it is answered at once.
fn picture() -> String {
    let data = "iVBORw0KGgoAAAANSUhEUgAA";
    asked(&format!(
        "{{\"role\": \"user\", \"content\": [{{\"type\": \"text\", \"text\": \"in brief: what is it?\"}}, \
         {{\"type\": \"image_url\", \"image_url\": {{\"url\": \"data:image/png;base64,{}\"}}}}]}}",
        data.repeat(BYTES / data.len())
    ))
}

/// Of a message, the message itself and its two fields count. The run has the last ones of them, and is
/// small, too.
fn parts() -> String {
    let many = 29_999;
    let text = format!("in brief: {}", "x".repeat(BYTES / many - 50));
    let message = |number: usize| {
        let role = if number.is_multiple_of(2) { "user" } else { "assistant" };
        format!("{{\"role\": \"{role}\", \"content\": \"{text}\"}}")
    };
    asked(&(0..many).map(message).collect::<Vec<_>>().join(", "))
}

fn form() -> String {
    upload(0, BYTES)
}

fn native() -> String {
    chat(0, "blocking", NATIVE_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{BYTES, JSON, KINDS, NATIVE_BYTES};

    #[test]
    fn large_bodies_are_what_they_say_and_about_as_large() {
        for large in KINDS {
            let body = (large.body)();
            let size = if large.path == "chat-messages" { NATIVE_BYTES } else { BYTES };
            assert!(body.len().abs_diff(size) < size / 50, "{}: {}", large.what, body.len());
            if large.kind == JSON {
                let value: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(value["user"], "user-00000");
            }
        }
    }
}
