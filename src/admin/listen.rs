//! The admin listener: who is taken in at all, how many at once, and for how long.
//!
//! It has descriptors of its own ([`ADMIN_CONNECTIONS`]), so that neither listener can take those of the
//! other. Half of them are for clients that may ask by their address. Where no place is left, a new
//! connection gets that of the one that has waited longest for its next request: whoever only holds
//! connections open keeps nobody out.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep};
use tower::ServiceExt;

use super::{Access, Listener, Office, Visitor, router};
use crate::control::ADMIN_CONNECTIONS;

/// How long accepting pauses when the process is out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long connections may take. Not for operators to set: their clients are few and near.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For a request's head, from the connection's beginning or the head's first byte.
    head: Duration,
    /// For a request's body.
    body: Duration,
    /// Between requests, and without a byte of an answer taken.
    idle: Duration,
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    body: Duration::from_secs(60),
    idle: Duration::from_secs(75),
};

/// Answers on the admin listener for as long as the process lives.
///
/// # Errors
/// None at present: what goes wrong with one connection is that connection's end.
pub async fn listen(listener: TcpListener, office: Arc<Office>) -> io::Result<()> {
    let router = router(Arc::clone(&office));
    let mut guests = Guests::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept connections of operators: {error}");
                sleep(EXHAUSTED).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        if let Some(standing) = Standing::of(address, &office.access.load())
            && let Some(activity) = guests.place(standing)
        {
            let visitor = Visitor { listener: Listener::Admin, address: Some(address) };
            let served = serve(stream, router.clone(), visitor, Arc::clone(&activity));
            guests.enter(standing, activity, served);
        }
    }
}

/// How a client stands before it has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its address may ask.
    Known,
    /// It may show the token, or ask for what everybody may.
    Stranger,
}

impl Standing {
    /// None for who can have no answer: `admin.allow` does not name it, and there is no token to show.
    fn of(address: IpAddr, access: &Access) -> Option<Self> {
        if access.allows_address(address, Listener::Admin) {
            return Some(Self::Known);
        }
        (access.token.is_some() || access.allow.is_empty()).then_some(Self::Stranger)
    }
}

/// The connections that are open.
#[derive(Default)]
struct Guests {
    tasks: JoinSet<()>,
    open: Vec<Guest>,
}

struct Guest {
    standing: Standing,
    activity: Arc<Activity>,
    task: AbortHandle,
}

impl Guests {
    /// What a new connection is watched by; none if all others of its standing have a request under way.
    fn place(&mut self, standing: Standing) -> Option<Arc<Activity>> {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|guest| !guest.task.is_finished());
        let alike = self.open.iter().filter(|guest| guest.standing == standing);
        if alike.clone().count() >= ADMIN_CONNECTIONS / 2 {
            let waiting = alike.filter_map(|guest| Some((guest.activity.waits_since()?, guest)));
            let (_, longest) = waiting.min_by_key(|(since, _)| *since)?;
            longest.task.abort();
            let gone = Arc::clone(&longest.activity);
            self.open.retain(|guest| !Arc::ptr_eq(&guest.activity, &gone));
        }
        Some(Arc::new(Activity::new(PATIENCE)))
    }

    fn enter(
        &mut self,
        standing: Standing,
        activity: Arc<Activity>,
        served: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(served);
        self.open.push(Guest { standing, activity, task });
    }
}

async fn serve(stream: TcpStream, router: axum::Router, visitor: Visitor, activity: Arc<Activity>) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        activity.enters(Phase::Request);
        let deadline = activity.patience.body;
        let mut request = request.map(|body| Body::new(Timed::new(body, deadline)));
        request.extensions_mut().insert(visitor);
        let answer = router.clone().oneshot(request);
        let activity = Arc::clone(&activity);
        async move {
            let answer = answer.await;
            activity.enters(Phase::Idle);
            answer
        }
    });
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let connection = http1::Builder::new().serve_connection(io, service);
    tokio::select! {
        done = connection => if let Err(error) = done {
            tracing::debug!("an operator's connection ended: {error}");
        },
        () = activity.too_long() => {}
    }
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Phase {
    /// Its next request has begun to come.
    Head,
    /// A request is answered.
    Request,
    /// The last answer is made, and perhaps still goes out.
    Idle,
}

/// Since when a connection is about what it is about.
#[derive(Debug)]
struct Activity {
    began: Instant,
    /// Milliseconds from the beginning to the last change, times four, and the phase.
    now: AtomicU64,
    patience: Patience,
}

impl Activity {
    fn new(patience: Patience) -> Self {
        Self { began: Instant::now(), now: AtomicU64::new(Phase::Head as u64), patience }
    }

    fn now(&self) -> (Phase, Instant) {
        let now = self.now.load(Ordering::Relaxed);
        let phase = match now % 4 {
            0 => Phase::Head,
            1 => Phase::Request,
            _ => Phase::Idle,
        };
        (phase, self.began + Duration::from_millis(now / 4))
    }

    fn enters(&self, phase: Phase) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 4);
        self.now.store(millis * 4 + phase as u64, Ordering::Relaxed);
    }

    /// Bytes of a request came.
    fn heard(&self) {
        if self.now().0 == Phase::Idle {
            self.enters(Phase::Head);
        }
    }

    /// The client took bytes of an answer.
    fn told(&self) {
        self.enters(self.now().0);
    }

    /// Since when it waits for its client; none while a request is under way.
    fn waits_since(&self) -> Option<Instant> {
        let (phase, since) = self.now();
        (phase != Phase::Request).then_some(since)
    }

    /// For how long the client may still be waited for. A request under way has no end of its own: its
    /// body has, and the answer is ours.
    fn left(&self, now: Instant) -> Duration {
        let (phase, since) = self.now();
        let patience = match phase {
            Phase::Head => self.patience.head,
            Phase::Idle => self.patience.idle,
            Phase::Request => return self.patience.head,
        };
        patience.saturating_sub(now.saturating_duration_since(since))
    }

    /// Waits until the client takes too long.
    async fn too_long(&self) {
        loop {
            match self.left(Instant::now()) {
                Duration::ZERO => return,
                left => sleep(left).await,
            }
        }
    }
}

/// A socket that notes when bytes go through it.
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.activity.heard();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.activity.told();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A request's body that must come in time.
struct Timed {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

impl Timed {
    fn new(body: Incoming, patience: Duration) -> Self {
        Self { body, deadline: Box::pin(sleep(patience)) }
    }
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        ready!(self.deadline.as_mut().poll(context));
        let late =
            io::Error::new(io::ErrorKind::TimedOut, "the request's body did not come in time");
        Poll::Ready(Some(Err(axum::Error::new(late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{ADMIN_CONNECTIONS, Access, Activity, Guests, PATIENCE, Phase, Standing};
    use crate::model::Token;

    #[test]
    fn who_can_have_no_answer_is_not_taken_in() {
        let allow = || vec!["10.0.0.0/8".parse().unwrap()];
        let token = || Some(Token::new("admin-secret"));
        let cases = [
            (
                None,
                vec![],
                [Some(Standing::Known), Some(Standing::Stranger), Some(Standing::Stranger)],
            ),
            (None, allow(), [Some(Standing::Known), Some(Standing::Known), None]),
            (token(), vec![], [Some(Standing::Stranger); 3]),
            (
                token(),
                allow(),
                [Some(Standing::Stranger), Some(Standing::Known), Some(Standing::Stranger)],
            ),
        ];
        for (token, allow, expected) in cases {
            let access = Access { token, allow, hosts: Vec::new() };
            let standing = ["127.0.0.1", "10.1.2.3", "192.0.2.1"]
                .map(|address| Standing::of(address.parse::<IpAddr>().unwrap(), &access));
            assert_eq!(standing, expected, "{access:?}");
        }
    }

    fn enter(guests: &mut Guests, standing: Standing) -> Option<Arc<Activity>> {
        let activity = guests.place(standing)?;
        guests.enter(standing, Arc::clone(&activity), std::future::pending());
        Some(activity)
    }

    #[tokio::test]
    async fn a_new_connection_gets_the_place_of_the_one_that_waited_longest() {
        let mut guests = Guests::default();
        let mut held = Vec::new();
        for _ in 0..ADMIN_CONNECTIONS / 2 {
            held.push(enter(&mut guests, Standing::Stranger).unwrap());
        }
        held[0].enters(Phase::Request);
        enter(&mut guests, Standing::Stranger).unwrap();
        let open = |guests: &Guests, activity: &Arc<Activity>| {
            guests.open.iter().any(|guest| Arc::ptr_eq(&guest.activity, activity))
        };
        assert!(open(&guests, &held[0]) && !open(&guests, &held[1]) && open(&guests, &held[2]));
        assert_eq!(guests.open.len(), ADMIN_CONNECTIONS / 2);
        // Those who may ask by their address have places of their own.
        for _ in 0..ADMIN_CONNECTIONS {
            enter(&mut guests, Standing::Known).unwrap();
        }
        assert_eq!(guests.open.len(), ADMIN_CONNECTIONS / 2 * 2);
        // Requests under way are not cut.
        guests.open.iter().for_each(|guest| guest.activity.enters(Phase::Request));
        assert!(enter(&mut guests, Standing::Known).is_none());
    }

    #[test]
    fn heads_and_pauses_have_an_end_and_requests_under_way_do_not() {
        let activity = Activity::new(PATIENCE);
        let left = |after: Duration| {
            let since = activity.now().1;
            activity.left(since + after)
        };
        let long = Duration::from_secs(3600);
        activity.heard();
        assert_eq!(
            left(PATIENCE.head / 2),
            PATIENCE.head / 2,
            "the head began with the connection"
        );
        assert_eq!(left(long), Duration::ZERO);
        activity.enters(Phase::Request);
        assert_eq!(left(long), PATIENCE.head);
        activity.enters(Phase::Idle);
        assert_eq!(left(PATIENCE.head), PATIENCE.idle - PATIENCE.head);
        assert_eq!(left(long), Duration::ZERO);
        activity.heard();
        assert_eq!(left(long), Duration::ZERO);
        assert_eq!(left(Duration::ZERO), PATIENCE.head);
    }
}
