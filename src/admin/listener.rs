//! The admin listener: axum serves it; which connections it gets is decided at accept.
//!
//! It has descriptors of its own ([`ADMIN_CONNECTIONS`](crate::control::ADMIN_CONNECTIONS)), so that
//! neither listener can take those of the other. `conn_limit` bounds the connections, `timed_io` and
//! `timed_body` bound how long a client may take.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::access::Access;
use super::conn_limit::{ConnLimit, Source};
use super::conn_state::{ConnState, Phase, TIMEOUTS};
use super::router::router;
use super::state::AdminState;
use super::timed_body::TimedBody;
use super::timed_io::TimedIo;
use super::visitor::{Listener, Visitor};

/// How long accepting pauses when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on the admin listener for as long as the process lives.
///
/// # Errors
/// None at present: what goes wrong with one connection is that connection's end.
pub async fn serve(tcp: TcpListener, state: Arc<AdminState>) -> io::Result<()> {
    let access = Arc::clone(&state.access);
    let listener = AdminListener { tcp, access, limit: ConnLimit::new(TIMEOUTS) };
    serve_app(listener, router(state)).await
}

async fn serve_app(listener: AdminListener, app: Router) -> io::Result<()> {
    let app = app.layer(from_fn(follow));
    axum::serve(listener, app.into_make_service_with_connect_info::<Connection>()).await
}

/// Accepts the connections that `admin.allow` and the limit of connections let in.
struct AdminListener {
    tcp: TcpListener,
    access: Arc<ArcSwap<Access>>,
    limit: ConnLimit,
}

impl axum::serve::Listener for AdminListener {
    type Io = TimedIo;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedIo, SocketAddr) {
        loop {
            let (stream, peer) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept connections of operators: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let address = peer.ip().to_canonical();
            if let Some(source) = Source::of(address, &self.access.load())
                && let Some(state) = self.limit.admit(source)
            {
                return (TimedIo::new(stream, state), SocketAddr::new(address, peer.port()));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// What a request knows of its connection.
#[derive(Clone)]
struct Connection {
    peer: SocketAddr,
    state: Arc<ConnState>,
}

impl Connected<IncomingStream<'_, AdminListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, AdminListener>) -> Self {
        Self { peer: *stream.remote_addr(), state: Arc::clone(stream.io().state()) }
    }
}

/// Notes when a request is under way, and bounds the time of its body.
async fn follow(
    ConnectInfo(Connection { peer, state }): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    state.enter(Phase::Request);
    let mut request = request.map(|body| Body::new(TimedBody::new(body, state.timeouts().body)));
    let visitor = Visitor { listener: Listener::Admin, address: Some(peer.ip()) };
    request.extensions_mut().insert(visitor);
    let response = next.run(request).await;
    state.enter(Phase::Idle);
    response
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use arc_swap::ArcSwap;
    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::Request;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::AbortHandle;
    use tokio::time::{sleep, timeout};

    use super::{Access, AdminListener, serve_app};
    use crate::admin::conn_limit::ConnLimit;
    use crate::admin::conn_state::Timeouts;
    use crate::control::ADMIN_CONNECTIONS;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(3600);
    /// For all that must come to pass, on a busy machine as well.
    const PATIENCE: Duration = Duration::from_secs(60);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    async fn served(head: Duration, body: Duration, idle: Duration) -> (SocketAddr, AbortHandle) {
        let app = Router::new()
            .route("/", get(|| async { "yes" }))
            .route("/large", get(|| async { vec![0; 64 << 20] }))
            .route("/slow", get(async || sleep(SHORT * 5).await))
            .route("/endless", get(|_: Request| pending::<()>()))
            .route("/length", post(async |body: Bytes| body.len().to_string()));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let access = Arc::new(ArcSwap::from_pointee(Access::default()));
        let limit = ConnLimit::new(Timeouts { head, body, idle });
        let listener = AdminListener { tcp, access, limit };
        (addr, tokio::spawn(serve_app(listener, app)).abort_handle())
    }

    async fn sent(addr: SocketAddr, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream
    }

    /// Everything until the end of the connection, which may be a reset.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("an end");
        String::from_utf8_lossy(&text).into_owned()
    }

    async fn answered(stream: &mut TcpStream) {
        let mut text = Vec::new();
        while !text.ends_with(b"yes") {
            assert_ne!(timeout(PATIENCE, stream.read_buf(&mut text)).await.unwrap().unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn heads_that_come_too_slowly_end_without_an_answer() {
        let (addr, _) = served(SHORT, LONG, LONG).await;
        assert_eq!(rest(&mut sent(addr, b"").await).await, "");
        assert_eq!(rest(&mut sent(addr, b"GET / HT").await).await, "");
        let mut second = sent(addr, GET).await;
        answered(&mut second).await;
        second.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(rest(&mut second).await, "");
        // A byte now and then is not enough.
        let (mut reads, mut writes) = sent(addr, b"GET /").await.into_split();
        let drip = async {
            while writes.write_all(b"a").await.is_ok() {
                sleep(SHORT / 20).await;
            }
        };
        let end = async {
            assert_eq!(reads.read(&mut [0; 16]).await.unwrap_or(0), 0);
        };
        let either = async {
            tokio::select! {
                () = drip => {}
                () = end => {}
            }
        };
        timeout(PATIENCE, either).await.expect("an end");
    }

    #[tokio::test]
    async fn idle_connections_and_responses_that_nobody_takes_end() {
        let (addr, _) = served(LONG, LONG, SHORT).await;
        let mut idle = sent(addr, GET).await;
        answered(&mut idle).await;
        assert_eq!(rest(&mut idle).await, "");
        let mut stopped = sent(addr, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // What the kernel took can be read in the end, and the rest was never sent.
        sleep(SHORT * 5).await;
        assert!(rest(&mut stopped).await.len() < 64 << 20);
    }

    #[tokio::test]
    async fn bodies_end_and_requests_under_way_do_not() {
        let (addr, _) = served(SHORT, SHORT, SHORT).await;
        let late = b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
        assert!(rest(&mut sent(addr, late).await).await.starts_with("HTTP/1.1 400"));
        let slow = b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(rest(&mut sent(addr, slow).await).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn at_the_limit_the_connection_that_waited_longest_gives_way() {
        let (addr, _) = served(LONG, LONG, LONG).await;
        let mut open = Vec::new();
        for _ in 0..ADMIN_CONNECTIONS / 2 {
            let mut stream = sent(addr, GET).await;
            answered(&mut stream).await;
            open.push(stream);
            // States differ by milliseconds at least.
            sleep(Duration::from_millis(2)).await;
        }
        let mut new = sent(addr, GET).await;
        answered(&mut new).await;
        assert_eq!(rest(&mut open[0]).await, "");
        open[1].write_all(GET).await.unwrap();
        answered(&mut open[1]).await;
    }

    #[tokio::test]
    async fn connections_end_with_their_listener() {
        let (addr, task) = served(LONG, LONG, LONG).await;
        let mut idle = sent(addr, GET).await;
        answered(&mut idle).await;
        let mut running = sent(addr, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
        task.abort();
        assert_eq!(rest(&mut idle).await, "");
        assert_eq!(rest(&mut running).await, "");
    }
}
