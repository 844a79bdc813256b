//! A DNS server that answers what it is told, over UDP and TCP. Its messages are made by hand (RFC 1035),
//! not by the library that is tested with them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) const NOERROR: u8 = 0;
pub(super) const SERVFAIL: u8 = 2;
pub(super) const NXDOMAIN: u8 = 3;
pub(super) const REFUSED: u8 = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

/// What a question gets.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Addresses, with their time to live in seconds.
    Addresses(u32, Vec<IpAddr>),
    /// Priority, weight, port and host of each record.
    Services(u32, Vec<(u16, u16, u16, &'static str)>),
    /// A response code and no record.
    Code(u8),
    /// Nothing at all.
    Silence,
}

type Zone = BTreeMap<(String, Kind), Reply>;

/// A server on a free port of the loopback. A name that it was not told of does not exist; a kind of a
/// name that it knows is empty.
pub(super) struct DnsServer {
    address: SocketAddr,
    zone: watch::Sender<Zone>,
    asked: watch::Receiver<Vec<String>>,
    _tasks: JoinSet<()>,
}

/// More than this over UDP is truncated, as RFC 9715 advises.
const MAX_UDP: usize = 1_232;

impl DnsServer {
    pub(super) async fn start() -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // Somebody else may have the port for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let (zone, answers) = watch::channel(Zone::new());
        let (asked_sender, asked) = watch::channel(Vec::new());
        let mut tasks = JoinSet::new();
        let desk = Desk { answers, asked: asked_sender };
        tasks.spawn(serve_udp(udp, desk.clone()));
        tasks.spawn(serve_tcp(tcp, desk));
        Self { address, zone, asked, _tasks: tasks }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub(super) fn set(&self, name: &str, kind: Kind, reply: Reply) {
        self.zone.send_modify(|zone| drop(zone.insert((name.to_owned(), kind), reply)));
    }

    /// What it was asked, as `udp api. A`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// How often it was asked for A records.
    pub(super) fn rounds(&self) -> usize {
        self.asked().iter().filter(|line| line.ends_with(" A")).count()
    }
}

#[derive(Clone)]
struct Desk {
    answers: watch::Receiver<Zone>,
    asked: watch::Sender<Vec<String>>,
}

async fn serve_udp(socket: UdpSocket, desk: Desk) {
    let mut buffer = [0; 4_096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(message) = desk.answer("udp", &buffer[..length]) {
            let message = if message.len() > MAX_UDP { truncated(message) } else { message };
            socket.send_to(&message, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, desk: Desk) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        tasks.spawn(serve_stream(stream, desk.clone()));
    }
}

async fn serve_stream(mut stream: TcpStream, desk: Desk) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.unwrap();
        if let Some(message) = desk.answer("tcp", &query) {
            stream.write_u16(message.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&message).await.unwrap();
        }
    }
}

/// The head and the question with the TC bit.
fn truncated(mut message: Vec<u8>) -> Vec<u8> {
    message.truncate(question_end(&message));
    message[2] |= 0x02;
    message[6..8].fill(0);
    message
}

/// Where the one question of a message ends.
fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += usize::from(message[at]) + 1;
    }
    at + 5
}

fn question_name(message: &[u8]) -> String {
    let (mut at, mut name) = (12, String::new());
    while message[at] != 0 {
        let length = usize::from(message[at]);
        name += &String::from_utf8_lossy(&message[at + 1..=at + length]);
        name.push('.');
        at += length + 1;
    }
    name
}

impl Desk {
    /// The message that answers a query, or none.
    fn answer(&self, by: &str, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = (question_name(query), question_end(query));
        let kind = match u16::from_be_bytes([query[end - 4], query[end - 3]]) {
            1 => Kind::A,
            28 => Kind::Aaaa,
            33 => Kind::Srv,
            other => panic!("asked for records of type {other}"),
        };
        let line = format!("{by} {name} {}", format!("{kind:?}").to_uppercase());
        self.asked.send_modify(|asked| asked.push(line));
        let zone = self.answers.borrow();
        let reply = zone.get(&(name.clone(), kind)).cloned();
        let is_known = zone.keys().any(|(known, _)| *known == name);
        let reply = reply.unwrap_or(Reply::Code(if is_known { NOERROR } else { NXDOMAIN }));
        let (code, records) = match reply {
            Reply::Silence => return None,
            Reply::Code(code) => (code, Vec::new()),
            Reply::Addresses(ttl, all) => {
                (NOERROR, all.into_iter().map(|ip| address(ttl, ip)).collect())
            }
            Reply::Services(ttl, all) => {
                (NOERROR, all.into_iter().map(|srv| service(ttl, srv)).collect())
            }
        };
        let count = u16::try_from(records.len()).unwrap().to_be_bytes();
        // The id; a response, recursion asked for and available, the code; one question, the answers.
        let mut message = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1];
        message.extend(count);
        message.extend([0; 4]);
        message.extend(&query[12..end]);
        message.extend(records.concat());
        Some(message)
    }
}

fn record(kind: Kind, ttl: u32, data: &[u8]) -> Vec<u8> {
    // A pointer to the name in the question; the kind, the class IN.
    let mut record = vec![0xc0, 12, 0, kind as u8, 0, 1];
    record.extend(ttl.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

fn address(ttl: u32, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => record(Kind::A, ttl, &ip.octets()),
        IpAddr::V6(ip) => record(Kind::Aaaa, ttl, &ip.octets()),
    }
}

fn service(ttl: u32, (priority, weight, port, host): (u16, u16, u16, &str)) -> Vec<u8> {
    let mut data = [priority, weight, port].map(u16::to_be_bytes).concat();
    for label in host.split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.as_bytes());
    }
    data.push(0);
    record(Kind::Srv, ttl, &data)
}
