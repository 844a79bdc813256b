//! Thousands of clients that send a head a byte a second and never end it, beside good ones.
//!
//! They hold a connection each for as long as they are let, and come again when they are cut. What
//! counts is what the good ones notice. So all slow ones are one thread, which does nothing but read
//! and write once in a while: it must not be what the good ones wait for.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use socket2::{Domain, Protocol, Socket, Type};

use crate::load::{Outcome, Sent};

/// How often each is looked at; so exact are the times of [`Cuts`].
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A byte is sent with every such look.
const LOOKS_PER_BYTE: usize = 4;
/// A look at all is taken in so many parts.
const PARTS: usize = 25;
/// Connections that are begun in a part: 2,000 a second.
const CONNECTS: usize = 20;
/// They have so many addresses of the loopback network, or the ports of one would run out.
const ADDRESSES: usize = 64;
/// What every head begins with. What follows is one header that never ends.
const HEAD: &[u8] = b"GET /v1/parameters HTTP/1.1\r\nHost: dify\r\nX-Slow: ";

/// What became of the slow ones.
#[derive(Debug, Clone, Default)]
pub struct Cuts {
    /// From the first byte of a head to the end of its connection, the shortest first.
    pub after: Vec<Duration>,
    /// Of these, who was told so (408).
    pub told: usize,
    /// Those that could not connect.
    pub refused: usize,
    /// The longest that one was let be that was still there at the end.
    pub longest_left: Duration,
}

/// A crowd of slow clients at work.
#[derive(Debug)]
pub struct Crowd {
    thread: JoinHandle<Cuts>,
    connected: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Crowd {
    /// Starts so many of them.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn start(target: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let (connected, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (Arc::clone(&connected), Arc::clone(&over));
        let thread = thread::Builder::new().name("slow".to_owned());
        let thread = thread.spawn(move || drive(target, count, &counted, &ended));
        Ok(Self { thread: thread.context("no thread")?, connected, over })
    }

    /// Those that are connected now.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// Ends it and gives what became of all.
    ///
    /// # Errors
    /// Its thread panicked.
    pub fn end(self) -> anyhow::Result<Cuts> {
        self.over.store(true, Ordering::Relaxed);
        let mut cuts = self.thread.join().map_err(|_| anyhow!("the slow clients panicked"))?;
        cuts.after.sort();
        Ok(cuts)
    }
}

fn drive(target: SocketAddr, count: usize, connected: &AtomicUsize, over: &AtomicBool) -> Cuts {
    let mut cuts = Cuts::default();
    let mut clients: Vec<_> = (0..count).map(Client::new).collect();
    for part in (0..PARTS).cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let (began, mut connects) = (Instant::now(), CONNECTS);
        for client in clients.iter_mut().skip(part).step_by(PARTS) {
            client.look(target, &mut connects, &mut cuts);
        }
        let there = clients.iter().filter(|client| client.began.is_some()).count();
        connected.store(there, Ordering::Relaxed);
        let length = LOOK_EVERY / u32::try_from(PARTS).unwrap_or(1);
        thread::park_timeout(length.saturating_sub(began.elapsed()));
    }
    let left = clients.iter().filter_map(|client| client.began);
    cuts.longest_left = left.map(|began| began.elapsed()).max().unwrap_or_default();
    cuts
}

struct Client {
    number: usize,
    stream: Option<TcpStream>,
    /// When its head began, which is when it was connected.
    began: Option<Instant>,
    looks: usize,
}

impl Client {
    fn new(number: usize) -> Self {
        Self { number, stream: None, began: None, looks: number }
    }

    fn look(&mut self, target: SocketAddr, connects: &mut usize, cuts: &mut Cuts) {
        let Some(stream) = &mut self.stream else {
            if let Some(left) = connects.checked_sub(1) {
                *connects = left;
                self.stream = connect(self.number, target);
                cuts.refused += usize::from(self.stream.is_none());
            }
            return;
        };
        let Some(began) = self.began else {
            match stream.write(HEAD) {
                Ok(_) => self.began = Some(Instant::now()),
                Err(error) if is_early(error.kind()) => {}
                Err(_) => {
                    cuts.refused += 1;
                    self.stream = None;
                }
            }
            return;
        };
        let mut answer = [0; 512];
        match stream.read(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.looks += 1;
                if self.looks.is_multiple_of(LOOKS_PER_BYTE) {
                    // It may be closed; the next read says so.
                    let _ = stream.write(b"x");
                }
            }
            _ => {
                cuts.after.push(began.elapsed());
                cuts.told += usize::from(answer.starts_with(b"HTTP/1.1 408"));
                (self.stream, self.began) = (None, None);
            }
        }
    }
}

/// Begins to connect, from an address that it shares with few.
fn connect(number: usize, target: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
    let last = u8::try_from(1 + number % ADDRESSES).ok()?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)).into()).ok()?;
    socket.set_nonblocking(true).ok()?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => None,
        _ => Some(socket.into()),
    }
}

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// Whether the connection is still on its way.
fn is_early(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

/// What the good ones noticed.
#[derive(Debug, Clone, Default)]
pub struct Good {
    /// Requests that were sent.
    pub sent: usize,
    /// Those without a good answer.
    pub failed: usize,
    /// What their clients noticed, and how often.
    pub noticed: BTreeMap<String, usize>,
    /// Half of the answers were whole by then.
    pub median: Duration,
    /// 99 of 100 were.
    pub p99: Duration,
}

impl Good {
    /// Of these requests.
    #[must_use]
    pub fn of(sent: &[Sent]) -> Self {
        let mut took: Vec<_> = sent.iter().map(|one| one.ended - one.started).collect();
        took.sort();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
        let mut noticed = BTreeMap::new();
        for one in sent {
            let what = match &one.outcome {
                Outcome::Good => continue,
                Outcome::Lost(what) => what.clone(),
                Outcome::CutUnseen => "cut, unseen".to_owned(),
            };
            *noticed.entry(what).or_default() += 1;
        }
        let failed = noticed.values().sum();
        Self { sent: sent.len(), failed, noticed, median: at(50), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Kind;

    #[test]
    fn the_slowest_in_a_hundred_count_and_so_does_each_failure() {
        let started = tokio::time::Instant::now();
        let sent: Vec<_> = (0..200)
            .map(|number| Sent {
                number,
                kind: Kind::Get,
                started,
                ended: started + Duration::from_millis(number),
                outcome: if number == 7 { Outcome::CutUnseen } else { Outcome::Good },
            })
            .collect();
        let good = Good::of(&sent);
        assert_eq!((good.sent, good.failed), (200, 1));
        assert_eq!((good.median.as_millis(), good.p99.as_millis()), (100, 198));
    }

    #[test]
    fn who_is_cut_comes_again_and_is_told_from_who_is_let_be() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let crowd = Crowd::start(listener.local_addr().unwrap(), 1).unwrap();
        let (mut first, _) = listener.accept().unwrap();
        let mut head = vec![0; HEAD.len()];
        first.read_exact(&mut head).unwrap();
        assert_eq!(head, HEAD);
        let mut byte = [0];
        first.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        first.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
        let (mut second, _) = listener.accept().unwrap();
        second.read_exact(&mut head).unwrap();
        drop(second);
        let (mut third, _) = listener.accept().unwrap();
        third.read_exact(&mut head).unwrap();
        while crowd.connected() != 1 {
            thread::park_timeout(LOOK_EVERY);
        }
        let cuts = crowd.end().unwrap();
        assert_eq!((cuts.after.len(), cuts.told, cuts.refused), (2, 1, 0));
        assert!(cuts.longest_left > Duration::ZERO);
    }
}
