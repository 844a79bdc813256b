//! Makes the kernel drop the first packets of new connections to a port of ours.
//!
//! Linux does so when the queue of connections nobody has accepted yet is full. So the queue is made
//! as short as it can be, and connections of our own fill it. `net.ipv4.tcp_abort_on_overflow` must
//! be 0, as it is unless somebody set it: otherwise clients are refused instead.

use socket2::SockRef;
use std::io;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// On loopback the kernel answers at once, or not at all.
const PATIENCE: Duration = Duration::from_millis(100);
/// More than any queue that is in use here.
const MOST: usize = 4096;

/// The connections that fill a queue.
#[derive(Default)]
pub(crate) struct Fillers(Vec<TcpStream>);

impl Fillers {
    /// Fills the queue of a listener that nobody accepts from.
    ///
    /// # Errors
    /// That of the operating system, or that the queue takes in one connection after the other.
    pub(crate) async fn crowd(&mut self, listener: &TcpListener) -> io::Result<()> {
        SockRef::from(listener).listen(0)?;
        let addr = listener.local_addr()?;
        while self.0.len() < MOST {
            match timeout(PATIENCE, TcpStream::connect(addr)).await {
                Ok(stream) => self.0.push(stream?),
                Err(_unanswered) => return Ok(()),
            }
        }
        Err(io::Error::other("the kernel takes in connections that nobody accepts"))
    }

    /// Gives the queue back to others, `backlog` long.
    ///
    /// # Errors
    /// That of the operating system.
    pub(crate) fn leave(&mut self, listener: &TcpListener, backlog: i32) -> io::Result<()> {
        self.0.clear();
        SockRef::from(listener).listen(backlog)
    }
}
