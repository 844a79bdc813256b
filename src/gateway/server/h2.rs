//! A client's HTTP/2 connection.
//!
//! hyper and h2 keep the rules of RFC 9113: frames, flow control, pseudo headers, no headers of one
//! connection, bodies as long as they say. What is bounded here: streams at a time, sizes of heads,
//! what is buffered for a slow reader, how long a stream stands still beside others that move
//! (`h2_write_timeout`), and how often a client may take requests back, since each of them has cost an
//! instance something (CVE-2023-44487). What is in a head is checked where HTTP/1's
//! is (`framing`). Towards instances it stays HTTP/1.1.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use crate::gateway::handle::handle;
use crate::gateway::http::client_conn::{ClientConn, CloseReason};
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::limits::Limits;
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::http::tls::transport::Transport;
use crate::gateway::http::write_batch;
use crate::gateway::proxy::response_body::ResponseBody;
use crate::gateway::server::h2_write_timeout::{StreamActivity, WriteLimits};
use crate::gateway::upstream::worker::Worker;

/// What a client may send of a body before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same over all bodies of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is kept of a response for a client that reads slowly.
const SEND_BUFFER: usize = 64 * 1024;
/// Requests that may be taken back before they were even looked at.
const RESETS_UNSEEN: usize = 20;

pub(crate) async fn serve(
    worker: &Rc<Worker>,
    client: &Rc<ClientConn>,
    transport: Transport,
    limits: &Limits,
) {
    let io = Watched {
        stream: TokioIo::new(transport),
        client: Rc::clone(client),
        clock: Rc::clone(worker.clock()),
    };
    let most_resets = limits.h2_streams;
    let activity = StreamActivity::default();
    let service = service_fn(|request| {
        let (worker, client, activity) = (Rc::clone(worker), Rc::clone(client), activity.clone());
        async move {
            let asked = ResetGuard::new(Rc::clone(&worker), Rc::clone(&client), most_resets);
            let work = std::pin::pin!(answer(worker, client, request));
            let response = activity.clone().working(work).await;
            asked.answered();
            Ok::<_, Infallible>(response.map(|body| activity.answering(body)))
        }
    });
    let mut builder =
        Builder::new(LocalExecutor { worker: Rc::clone(worker), activity: activity.clone() });
    builder
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS_UNSEEN);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    if worker.shared().is_draining() {
        connection.as_mut().graceful_shutdown();
    }
    let mut warned = false;
    std::future::poll_fn(|context| {
        match client.asked_to_end(context) {
            Some(CloseReason::Drain) => connection.as_mut().graceful_shutdown(),
            // It is told once; with nobody there to hear it, the next time is the end.
            Some(CloseReason::Idle) if !warned => {
                warned = true;
                connection.as_mut().graceful_shutdown();
            }
            Some(_) => return Poll::Ready(()),
            None => {}
        }
        connection.as_mut().poll(context).map(|done| {
            if let Err(error) = done {
                tracing::debug!("client {}: {error}", client.peer);
            }
        })
    })
    .await;
}

async fn answer(
    worker: Rc<Worker>,
    client: Rc<ClientConn>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let head = Rc::new(RequestHead::of_parts(head));
    let reply = handle(worker, client, head, IncomingBody::Http2(body)).await;
    write_batch::next_tick().await;
    reply.into_response()
}

/// Runs a connection's requests on the thread that accepted it. One that is dropped resets its
/// stream.
#[derive(Clone)]
struct LocalExecutor {
    worker: Rc<Worker>,
    activity: StreamActivity,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        let worker = Rc::clone(&self.worker);
        let patience = move || {
            let snapshot = worker.shared().snapshot();
            let (write, min_rate) = (snapshot.timeouts.write, snapshot.limits.min_answer_rate);
            WriteLimits { write, min_rate }
        };
        spawn_local(self.activity.clone().bound(future, patience));
    }
}

/// A request without a response yet. Dropped so, the client has taken it back.
struct ResetGuard {
    worker: Rc<Worker>,
    client: Rc<ClientConn>,
    most_resets: u32,
    is_answered: Cell<bool>,
}

impl ResetGuard {
    fn new(worker: Rc<Worker>, client: Rc<ClientConn>, most_resets: u32) -> Self {
        Self { worker, client, most_resets, is_answered: Cell::new(false) }
    }

    fn answered(self) {
        self.is_answered.set(true);
    }
}

impl Drop for ResetGuard {
    fn drop(&mut self) {
        if !self.is_answered.get() {
            self.client.stream_reset(self.worker.clock().get(), self.most_resets);
        }
    }
}

/// The client's connection as hyper sees it; it notes when bytes move.
struct Watched {
    stream: TokioIo<Transport>,
    client: Rc<ClientConn>,
    clock: Rc<Cell<u64>>,
}

impl Watched {
    fn note<T>(&self, done: Poll<T>) -> Poll<T> {
        if done.is_ready() {
            self.client.moved(self.clock.get());
        }
        done
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(done)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.note(done)
    }
}
