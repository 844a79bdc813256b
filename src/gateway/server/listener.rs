//! Sockets, worker threads and clients' connections.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle as Task, spawn_local};
use tokio::time::sleep;

use crate::gateway::http::client_conn::ClientConn;
use crate::gateway::http::conn_limit::ConnectionPermit;
use crate::gateway::http::early_error::EarlyError;
use crate::gateway::server::accept::accept;
use crate::gateway::state::shared::Shared;
use crate::gateway::upstream::worker::Worker;
use crate::model::{Reason, TlsMode};
use crate::telemetry::Sink;

/// How long accepting pauses when the process is out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long the gateway's own end waits for runs whose clients are gone.
const SEE_OUT: Duration = Duration::from_secs(10);

/// How the workers are set up. A change needs a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Whether worker n stays on CPU n.
    pub pin_cpus: bool,
    /// Clients' connections open at once; further ones wait in the kernel.
    pub max_connections: usize,
    /// Connections that the kernel holds for each worker until it accepts them.
    pub backlog: u16,
}

/// An address of clients: a socket for each worker, and whether TLS is spoken there.
#[derive(Debug)]
pub struct Bound {
    /// As many as there are workers.
    pub sockets: Vec<StdListener>,
    /// Of all of them.
    pub tls: TlsMode,
}

/// Binds one listener per worker, so that the kernel spreads connections over them.
///
/// # Errors
/// The address is in use or not ours. It is bound alone first: with `SO_REUSEPORT` from the start, a
/// second gateway on the same port would silently take half of the clients.
pub fn bind(address: SocketAddr, workers: usize, backlog: u16) -> io::Result<Vec<StdListener>> {
    let address = {
        let alone = socket(address)?;
        alone.bind(&address.into())?;
        alone.local_addr()?.as_socket().unwrap_or(address)
    };
    let bind_one = |_| {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::from(backlog))?;
        Ok(StdListener::from(socket))
    };
    (0..workers.max(1)).map(bind_one).collect()
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The worker threads of a running gateway.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `setup.workers` threads, each of which accepts at every address.
    ///
    /// # Errors
    /// A thread or its runtime could not be made.
    pub fn start(
        mut addresses: Vec<Bound>,
        shared: &Arc<Shared>,
        setup: WorkerConfig,
        sink: Option<Sink>,
    ) -> io::Result<Self> {
        let room = Arc::new(Semaphore::new(setup.max_connections.min(Semaphore::MAX_PERMITS)));
        let mut threads = Vec::new();
        for index in 0..setup.workers.max(1) {
            let own = |bound: &mut Bound| Some((bound.sockets.pop()?, bound.tls));
            let listeners: Vec<_> = addresses.iter_mut().filter_map(own).collect();
            let (shared, room, sink) = (Arc::clone(shared), Arc::clone(&room), sink.clone());
            let runtime = Builder::new_current_thread();
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn(move || {
                if setup.pin_cpus {
                    pin(index);
                }
                let worker = Rc::new(Worker::new(index, shared, sink));
                if let Err(error) = run(runtime, worker, listeners, &room) {
                    tracing::error!("worker {index} ended: {error}");
                }
            })?);
        }
        Ok(Self { threads })
    }

    /// Waits until every worker has served its last request, which they do after
    /// [`Shared::drain`]. Blocks.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

fn pin(index: usize) {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(index);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cpus) {
        tracing::warn!("worker {index} cannot be pinned to CPU {index}: {error}");
    }
}

fn run(
    mut runtime: Builder,
    worker: Rc<Worker>,
    listeners: Vec<(StdListener, TlsMode)>,
    room: &Arc<Semaphore>,
) -> io::Result<()> {
    let runtime = runtime.enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listen =
            |(socket, tls)| Ok(Rc::new(Listener { socket: TcpListener::from_std(socket)?, tls }));
        let listeners: Vec<_> = listeners.into_iter().map(listen).collect::<io::Result<_>>()?;
        let sweeper = Rc::clone(&worker);
        let sweep = spawn_local(async move { sweeper.sweep().await });
        let accepting = listeners.iter().map(|listener| {
            let (worker, listener, room) =
                (Rc::clone(&worker), Rc::clone(listener), Arc::clone(room));
            spawn_local(async move { accept_loop(&worker, &listener, &room).await })
        });
        let accepting: Vec<Task<()>> = accepting.collect();
        worker.draining().await;
        for task in accepting {
            task.abort();
            // Ended so; its listener is ours alone then.
            let _ = task.await;
        }
        // Who is already in the kernel's queue is served; closing it would reset them.
        for listener in listeners {
            while let Some((stream, peer)) = accept_now(&listener.socket).await {
                spawn_connection(&worker, stream, peer, (None, listener.tls));
            }
        }
        worker.drain_clients();
        worker.emptied().await;
        worker.seen_out(SEE_OUT).await;
        sweep.abort();
        Ok(())
    })
}

/// A worker's socket at an address of clients.
struct Listener {
    socket: TcpListener,
    tls: TlsMode,
}

async fn accept_loop(worker: &Rc<Worker>, listener: &Listener, room: &Arc<Semaphore>) {
    let mut failing = false;
    loop {
        // The semaphore is never closed.
        let permit = Arc::clone(room).acquire_owned().await.ok();
        match listener.socket.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                spawn_connection(worker, stream, peer, (permit, listener.tls));
            }
            Err(error) => {
                // A client that went away already is no matter; without descriptors, accepting again
                // at once would only burn the CPU, and saying so each time only fill the log.
                if !failing {
                    tracing::warn!("cannot accept connections: {error}");
                }
                failing = true;
                sleep(EXHAUSTED).await;
            }
        }
    }
}

async fn accept_now(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    std::future::poll_fn(|context| match listener.poll_accept(context) {
        Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn spawn_connection(
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    (permit, tls): (Option<OwnedSemaphorePermit>, TlsMode),
) {
    let worker = Rc::clone(worker);
    let Ok(address_place) = place(&worker, peer.ip().to_canonical()) else {
        // Best effort: nothing of the request has been read, and nothing waits for it. In the clear it
        // would be no response to who speaks TLS, and a handshake is what it should not cost.
        let in_the_clear = match tls {
            TlsMode::Auto => worker.shared().snapshot().tls.is_none(),
            TlsMode::On => false,
            TlsMode::Off => true,
        };
        if in_the_clear {
            let _ = stream.try_write(&EarlyError::TooManyConnections.response());
        }
        worker.shared().stats.by_reason[Reason::BadRequest as usize].add_one();
        return;
    };
    spawn_local(async move {
        let client = Rc::new(ClientConn::new(peer, worker.clock().get()));
        let place = worker.enter(Rc::clone(&client));
        // Without it, small answers wait for the client's acknowledgement.
        if stream.set_nodelay(true).is_ok() {
            accept(&worker, &client, stream, tls).await;
        }
        worker.leave(place);
        drop((permit, address_place));
    });
}

/// A place for one more connection of an address, where that is limited. All clients of a trusted
/// proxy come from its address.
fn place(worker: &Worker, address: IpAddr) -> Result<Option<ConnectionPermit>, TooMany> {
    let snapshot = worker.shared().snapshot();
    match snapshot.limits.connections_per_address {
        Some(limit) if !snapshot.trusts(address) => {
            worker.shared().connection_limiter().enter(address, limit).map(Some).ok_or(TooMany)
        }
        _ => Ok(None),
    }
}

struct TooMany;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    use super::bind;

    /// How many of 16 clients connect while nobody accepts them.
    fn connected(backlog: u16, patience: Duration) -> usize {
        let listeners = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, backlog).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let clients: Vec<_> =
            (0..16).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
        clients.len()
    }

    #[test]
    fn as_many_wait_in_the_kernel_as_the_backlog_says() {
        assert_eq!(connected(64, Duration::from_secs(20)), 16);
        assert!(connected(4, Duration::from_millis(200)) < 16);
    }
}
