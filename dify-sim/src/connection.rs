//! One connection from its acceptance to its close.
//!
//! Requests are served one after the other; what a client sends ahead waits in the buffer. A
//! connection that is idle, or has not sent a whole head, for the keep-alive time is closed
//! without a word; half a body is waited for without an end, as gunicorn does.

use crate::api::front::{self, Admitted, Caller, Read};
use crate::api::keys;
use crate::api::multipart::Reader;
use crate::api::{self, BodyKind, Passed, Reply};
use crate::run::stage::Halt;
use crate::run::turn::Turn;
use crate::run::{self, Opening};
use crate::served::Served;
use crate::setup::Fault;
use crate::state::Shared;
use crate::wire::answer::{Answer, bare};
use crate::wire::body::Body;
use crate::wire::head::{self, Head};
use crate::wire::socket::Wire;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// Bytes of a JSON body that are read; Dify knows no limit, a simulation had better.
const JSON_LIMIT: usize = 64 * 1024 * 1024;
/// Seconds that a request with a key hangs in later releases when Redis is away.
const REDIS_PATIENCE: u32 = 30;
/// What a fault sends instead of HTTP.
const GARBAGE: &[u8] = b"\x00\xffThis is not HTTP\x01\x02\r\n\r\n\x00";

/// Serves the connection until one side closes it.
pub(crate) async fn serve(shared: &Arc<Shared>, stream: TcpStream, number: u64) {
    let mut wire = Wire::new(stream, shared.condition.subscribe());
    loop {
        let head = match next_head(shared, &mut wire).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(page) => {
                let _ = wire.write(&page).await;
                return wire.finish().await;
            }
        };
        match exchange(shared, &mut wire, &head, number).await {
            After::KeepAlive => {}
            After::Close => return wire.finish().await,
            After::Drop => return,
        }
    }
}

/// What becomes of the connection after an answer.
enum After {
    KeepAlive,
    /// A FIN after all that was written.
    Close,
    /// At once.
    Drop,
}

/// What becomes of the connection after a stream.
fn after(streamed: Result<(), Halt>, keep: bool) -> After {
    match streamed {
        Ok(()) if keep => After::KeepAlive,
        Ok(()) | Err(Halt::Gone | Halt::Stopped | Halt::Aborted) => After::Close,
    }
}

/// The next head; `None` if the connection is to be closed without a word, an error page if what
/// came is no HTTP.
async fn next_head(shared: &Shared, wire: &mut Wire) -> Result<Option<Head>, Vec<u8>> {
    let deadline = tokio::time::Instant::now() + shared.setup.keep_alive;
    loop {
        if !wire.buffer.is_empty() {
            match head::read(&wire.buffer, shared.setup.release) {
                Ok(Some((head, length))) => {
                    let _ = wire.buffer.split_to(length);
                    return Ok(Some(head));
                }
                Ok(None) => {}
                Err(refusal) => return Err(refusal.page()),
            }
        } else if wire.closing() {
            return Ok(None);
        }
        match more(wire, deadline).await {
            More::Read => {}
            More::Over => {
                wire.thawed().await;
                return Ok(None);
            }
        }
    }
}

enum More {
    Read,
    Over,
}

/// Reads some bytes, or notices a change of condition, before the deadline.
async fn more(wire: &mut Wire, deadline: tokio::time::Instant) -> More {
    // Both halves borrow the connection, so the change is looked for on a receiver of its own.
    let mut condition = wire.watch();
    tokio::select! {
        read = wire.read() => match read {
            Ok(0) | Err(_) => More::Over,
            Ok(_) => {
                wire.thawed().await;
                More::Read
            }
        },
        changed = condition.changed() => if changed.is_ok() { More::Read } else { More::Over },
        () = tokio::time::sleep_until(deadline) => More::Over,
    }
}

async fn exchange(shared: &Arc<Shared>, wire: &mut Wire, head: &Head, number: u64) -> After {
    let entry = shared.log.push(Served {
        method: head.method.clone(),
        path: head.target.clone(),
        key: keys::bearer(head).ok(),
        user: None,
        status: 0,
        headers: head.headers.clone(),
        body_bytes: 0,
        body: Vec::new(),
        at: Instant::now(),
        connection: number,
    });
    let mut request = Request { shared, wire, head, entry, body: Body::new(head.framing) };
    let after = request.serve().await.unwrap_or(After::Drop);
    request.note_body();
    after
}

/// One request on its way.
struct Request<'a> {
    shared: &'a Arc<Shared>,
    wire: &'a mut Wire,
    head: &'a Head,
    /// Its number in the log.
    entry: u64,
    body: Body,
}

impl Request<'_> {
    async fn serve(&mut self) -> io::Result<After> {
        if self.head.expects_continue() {
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let fault = self.wire.fault();
        if let Some(after) = self.broken(fault).await? {
            return Ok(after);
        }
        let admitted = match front::admit(self.shared, self.head, fault) {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(*refused).await,
        };
        let read = self.read(&admitted).await?;
        self.note_body();
        let shared = self.shared;
        if fault == Fault::RedisDown && shared.setup.release.is_restx() {
            self.wire.pause(shared.setup.pace.second * REDIS_PATIENCE).await;
        }
        let app = match &admitted.caller {
            Caller::App(app) => app,
            caller => {
                let answer = api::desk(shared, &admitted.route, caller, self.head, read);
                return self.answer(answer).await;
            }
        };
        let mut call = match admitted.call(shared, app, self.head, read) {
            Ok(call) => call,
            Err(refused) => return self.refuse(*refused).await,
        };
        let user = call.user.clone();
        self.shared.log.update(self.entry, |entry| entry.user = Some(user));
        if admitted.has_user(self.head) {
            call.meet().await;
        }
        match api::answer(&admitted.route, call).await {
            Reply::Answer(answer) => self.answer(answer).await,
            Reply::Stream(turn) => self.stream(&turn).await,
            Reply::Passed(passed) => self.pass(passed).await,
        }
    }

    /// Answers without having looked at the whole body, then swallows it. A body that stops
    /// coming for the keep-alive time ends the connection.
    async fn refuse(&mut self, answer: Answer) -> io::Result<After> {
        let after = self.answer(answer).await?;
        let limit = self.shared.setup.keep_alive;
        while matches!(after, After::KeepAlive) && !self.body.is_over() {
            match tokio::time::timeout(limit, self.body.piece(self.wire)).await {
                Ok(piece) => drop(piece?),
                Err(_) => return Ok(After::Close),
            }
        }
        Ok(after)
    }

    async fn read(&mut self, admitted: &Admitted) -> io::Result<Read> {
        Ok(match admitted.body(self.head) {
            BodyKind::None => Read::Nothing,
            BodyKind::Json => Read::Bytes(self.body.whole(self.wire, JSON_LIMIT).await?),
            BodyKind::Form => {
                let mut reader = Reader::new(self.head);
                while let Some(piece) = self.body.piece(self.wire).await? {
                    reader.feed(&piece);
                }
                Read::Form(reader.form())
            }
        })
    }

    /// The faults that come instead of an answer; they read the request first.
    async fn broken(&mut self, fault: Fault) -> io::Result<Option<After>> {
        match fault {
            Fault::Reset | Fault::CloseAfterRequest | Fault::Garbage | Fault::Status(_) => {
                self.body.swallow(self.wire).await?;
                self.note_body();
            }
            Fault::RunStatus(_) if self.starts_run() => {
                self.body.swallow(self.wire).await?;
                self.note_body();
            }
            Fault::Slow(wait) => {
                self.wire.pause(wait).await;
                return Ok(None);
            }
            _ => return Ok(None),
        }
        Ok(Some(match fault {
            Fault::Reset => {
                self.wire.reset_on_close();
                After::Drop
            }
            Fault::Garbage => {
                self.wire.write(GARBAGE).await?;
                After::Close
            }
            Fault::Status(status) | Fault::RunStatus(status) => self.answer(bare(status)).await?,
            _ => After::Close,
        }))
    }

    async fn answer(&mut self, answer: Answer) -> io::Result<After> {
        let release = self.shared.setup.release;
        let answer = api::finished(answer, self.head, release);
        self.note_status(answer.status);
        let keep = self.keep();
        let mut bytes = answer.render_head(self.head, release, keep).into_bytes();
        let head_length = bytes.len() as u64;
        if self.head.method != "HEAD" {
            bytes.extend_from_slice(&answer.body);
        }
        match self.wire.fault() {
            Fault::CutAfter(count) => self.wire.cut_after(count),
            Fault::HalfHead => self.wire.cut_after(head_length / 2),
            Fault::HalfBody => {
                let body = bytes.len() as u64 - head_length;
                self.wire.cut_after(head_length + body / 2);
            }
            _ => {}
        }
        if self.wire.write(&bytes).await.is_err() {
            return Ok(After::Close);
        }
        Ok(if keep { After::KeepAlive } else { After::Close })
    }

    async fn stream(&mut self, turn: &Arc<Turn>) -> io::Result<After> {
        let (opening, keep) = self.opening(&Answer::events());
        Ok(after(run::stream(turn, self.wire, opening).await, keep))
    }

    /// Passes on what somebody else does; with Redis away that is the first ping, and no end.
    async fn pass(&mut self, passed: Passed) -> io::Result<After> {
        let (opening, keep) = self.opening(&passed.answer);
        let source = passed.source;
        if self.wire.fault() == Fault::RedisDown {
            return Ok(after(run::cut(&source, self.wire, opening).await, false));
        }
        let pace = self.shared.setup.pace;
        Ok(after(run::relay(source, self.wire, opening, pace).await, keep))
    }

    /// What a stream begins with, and whether its connection is kept after it.
    fn opening(&mut self, answer: &Answer) -> (Opening, bool) {
        self.note_status(answer.status);
        let chunked = self.head.minor > 0;
        let keep = self.keep() && chunked;
        let head = answer.render_head(self.head, self.shared.setup.release, keep);
        let fault = self.wire.fault();
        match fault {
            Fault::CutAfter(count) => self.wire.cut_after(count),
            Fault::HalfHead => self.wire.cut_after(head.len() as u64 / 2),
            _ => {}
        }
        (Opening { head, chunked, halved: fault == Fault::HalfBody }, keep)
    }

    fn starts_run(&self) -> bool {
        let route = api::routes::find(&self.head.path(), self.shared.setup.release);
        self.head.method == "POST" && route.is_some_and(|route| route.starts_run())
    }

    fn keep(&self) -> bool {
        self.head.keep_alive()
    }

    fn note_status(&self, status: u16) {
        self.shared.log.update(self.entry, |entry| entry.status = status);
    }

    fn note_body(&mut self) {
        if self.body.bytes == 0 {
            return;
        }
        let (bytes, kept) = (self.body.bytes, &self.body.kept);
        self.shared.log.update(self.entry, |entry| {
            entry.body_bytes = bytes;
            if entry.body.len() < kept.len() {
                entry.body.clone_from(kept);
            }
        });
    }
}
