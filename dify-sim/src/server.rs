//! The instance as its owner sees it: start, faults, stop, and what it served.

use crate::black_hole::Fillers;
use crate::connection;
use crate::nginx::{self, Nginx};
use crate::ran::Ran;
use crate::served::Served;
use crate::setup::{Fault, Front, Setup};
use crate::state::{Common, Shared};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

/// Connections the kernel keeps for us before they are accepted, as gunicorn asks for.
const BACKLOG: i32 = 2048;

/// A running simulated Dify. Clones are handles to the same one; when the last handle is dropped
/// it closes its listening socket and all its connections.
#[derive(Clone)]
pub struct Dify {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Where its tasks run: the runtime it was started on.
    runtime: Handle,
    slots: Arc<Semaphore>,
    door: Mutex<Option<Door>>,
    /// Bound to the port for life without listening, so that no one else takes the port while
    /// the instance refuses connections.
    _port: Socket,
    /// The nginx in front of it, if there is one.
    nginx: Option<Nginx>,
}

/// A port that is listened on.
struct Door {
    listener: Arc<TcpListener>,
    /// Takes connections in, unless nobody comes through.
    accepting: Option<JoinHandle<()>>,
    /// Our own connections that keep the kernel from taking in others.
    fillers: Fillers,
}

impl Door {
    /// Waits until no connection is being taken in.
    async fn leave_shut(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.door.get_mut().take().and_then(|door| door.accepting) {
            task.abort();
        }
        self.shared.condition.send_modify(|now| now.epoch += 1);
        if self.shared.processes.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.shared.worker.kill();
            self.shared.db().forms.clear();
        }
    }
}

impl std::fmt::Debug for Dify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dify").field("addr", &self.addr()).field("fault", &self.fault()).finish()
    }
}

impl Dify {
    /// Starts an instance on the runtime of the caller (either kind) and returns once it listens.
    ///
    /// # Errors
    /// That of the operating system, if it cannot bind or listen.
    pub async fn start(setup: Setup) -> io::Result<Self> {
        let common = Arc::new(Common::new(&setup));
        Self::on(setup, common).await
    }

    /// Starts another API process that listens there, over the same database, Redis and worker and
    /// with the same set-up: what one of them knows, all of them know. Faults are each one's own.
    ///
    /// # Errors
    /// That of the operating system, if it cannot bind or listen.
    pub async fn start_beside(&self, listen: SocketAddr) -> io::Result<Self> {
        let shared = &self.inner.shared;
        let setup = shared.setup.clone().with_listen(listen);
        Self::on(setup, Arc::clone(&shared.common)).await
    }

    async fn on(setup: Setup, common: Arc<Common>) -> io::Result<Self> {
        let (nginx, listen) = match setup.nginx {
            Front::None => (None, setup.listen),
            Front::Nginx => (Some(Nginx::bind(setup.listen).await?), nginx::API_ADDR),
        };
        let port = bound(listen)?;
        let addr = port.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let slots = Arc::new(Semaphore::new(setup.slots.clamp(1, Semaphore::MAX_PERMITS)));
        let url = format!("http://{}", nginx.as_ref().map_or(addr, Nginx::addr));
        let shared = Arc::new(Shared::new(setup, addr, &url, common));
        let nginx = nginx.map(|nginx| nginx.before(&shared));
        let dify = Self {
            inner: Arc::new(Inner {
                shared,
                runtime: Handle::current(),
                slots,
                door: Mutex::new(None),
                _port: port,
                nginx,
            }),
        };
        dify.listen().await?;
        Ok(dify)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.inner.nginx.as_ref().map_or(self.inner.shared.addr, Nginx::addr)
    }

    /// `http://<addr>`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The fault in force.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.inner.shared.condition.borrow().fault
    }

    /// Breaks the instance, or heals it with [`Fault::None`]: it then listens on the same port
    /// again. Its data stay, as a database does. After `Refused` the port is closed when this
    /// returns, after `Killed` all connections are, too. Faults of answers act on requests that
    /// come after; `Frozen`, `BlackHole` and `Killed` act on running ones.
    ///
    /// # Errors
    /// That of the operating system, if it cannot listen again, or cannot be made to take no
    /// connection in.
    pub async fn set_fault(&self, fault: Fault) -> io::Result<()> {
        let shared = &self.inner.shared;
        match fault {
            Fault::WorkerKilled => shared.worker.kill(),
            Fault::WorkerAbsent => shared.worker.stop(),
            _ => shared.worker.start(),
        }
        match fault {
            Fault::Refused => {
                self.close_port(fault, Closing::Idle).await;
                return Ok(());
            }
            Fault::Stopped => {
                self.stop_politely().await;
                return Ok(());
            }
            Fault::Killed => {
                self.close_port(fault, Closing::Idle).await;
                shared.condition.send_modify(|now| now.epoch += 1);
                self.finished().await;
                return Ok(());
            }
            Fault::BlackHole => self.swallow().await?,
            _ => self.listen().await?,
        }
        shared.condition.send_modify(|now| {
            now.fault = fault;
            now.closing = false;
        });
        Ok(())
    }

    /// As SIGTERM to gunicorn: the port is closed when this returns, running requests finish, and
    /// connections stay usable until they have been idle for the keep-alive time, as recorded.
    /// [`Dify::finished`] waits for them; [`Dify::set_fault`] with [`Fault::None`] starts it again.
    pub async fn stop_politely(&self) {
        self.close_port(Fault::Stopped, Closing::None).await;
    }

    /// Waits until no connection is open.
    pub async fn finished(&self) {
        let mut open = self.inner.shared.open.subscribe();
        let _ = open.wait_for(|open| *open == 0).await;
    }

    /// The last 100,000 requests (fewer if their bodies exceed 256 MiB), in the order their heads
    /// arrived.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        self.inner.shared.log.all()
    }

    /// How many requests [`Dify::served`] would give.
    #[must_use]
    pub fn served_count(&self) -> usize {
        self.inner.shared.log.len()
    }

    /// Waits until it has so many requests to give.
    pub async fn wait_for_served(&self, count: usize) {
        self.inner.shared.log.reached(count).await;
    }

    /// Forgets the requests so far.
    pub fn clear_served(&self) {
        self.inner.shared.log.clear();
    }

    /// The last 10,000 runs, in the order they began.
    #[must_use]
    pub fn runs(&self) -> Vec<Ran> {
        self.inner.shared.runs.all()
    }

    /// Waits for a run that is like this, one of the past included, and gives the first one.
    pub async fn wait_for_run(&self, like: impl Fn(&Ran) -> bool) -> Option<Ran> {
        self.inner.shared.runs.found(like).await
    }

    /// Connections that hold a slot now. Those that hang before a full instance do not count.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        *self.inner.shared.open.borrow()
    }

    /// Waits until exactly so many connections hold a slot.
    pub async fn wait_for_open(&self, count: usize) {
        let mut open = self.inner.shared.open.subscribe();
        let _ = open.wait_for(|open| *open == count).await;
    }

    /// Connections that ever got a slot.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.inner.shared.accepted.load(Ordering::Relaxed)
    }

    async fn close_port(&self, fault: Fault, closing: Closing) {
        let mut door = self.inner.door.lock().await;
        if let Some(mut door) = door.take() {
            door.leave_shut().await;
        }
        self.inner.shared.condition.send_modify(|now| {
            now.fault = fault;
            now.closing = closing == Closing::Idle;
        });
    }

    async fn listen(&self) -> io::Result<()> {
        let mut place = self.inner.door.lock().await;
        let door = match place.take() {
            Some(door) => place.insert(door),
            None => place.insert(self.open()?),
        };
        if door.accepting.is_none() {
            door.fillers.leave(&door.listener, BACKLOG)?;
            let listener = Arc::clone(&door.listener);
            let shared = Arc::clone(&self.inner.shared);
            let slots = Arc::clone(&self.inner.slots);
            door.accepting = Some(self.inner.runtime.spawn(accept(shared, listener, slots)));
        }
        Ok(())
    }

    /// Listens, with nobody who takes connections in and no room for them in the kernel.
    async fn swallow(&self) -> io::Result<()> {
        let mut place = self.inner.door.lock().await;
        let door = match place.take() {
            Some(door) => place.insert(door),
            None => place.insert(self.open()?),
        };
        door.leave_shut().await;
        door.fillers.crowd(&door.listener).await
    }

    fn open(&self) -> io::Result<Door> {
        let socket = bound(self.inner.shared.addr)?;
        socket.listen(BACKLOG)?;
        let _runtime = self.inner.runtime.enter();
        let listener = Arc::new(TcpListener::from_std(socket.into())?);
        Ok(Door { listener, accepting: None, fillers: Fillers::default() })
    }
}

/// Which connections close together with the port.
#[derive(PartialEq, Eq)]
enum Closing {
    None,
    Idle,
}

/// A socket bound to the address, not listening yet.
fn bound(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Accepts a connection only when a slot is free: others wait in the kernel, unread.
async fn accept(shared: Arc<Shared>, listener: Arc<TcpListener>, slots: Arc<Semaphore>) {
    let mut condition = shared.condition.subscribe();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        if condition.wait_for(|now| !now.fault.is_silent()).await.is_err() {
            return;
        }
        let shared = Arc::clone(&shared);
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        shared.open.send_modify(|open| *open += 1);
        let opened = Opened(Arc::clone(&shared));
        let epoch = condition.borrow().epoch;
        tokio::spawn(async move {
            let mut condition = shared.condition.subscribe();
            tokio::select! {
                () = connection::serve(&shared, stream, number) => {}
                _ = condition.wait_for(|now| now.epoch != epoch) => {}
            }
            drop(opened);
            drop(slot);
        });
    }
}

/// Counts a connection for as long as it lives.
struct Opened(Arc<Shared>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}
