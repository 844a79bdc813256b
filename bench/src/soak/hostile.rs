//! A client that means harm, with a token that is valid: what it does must cost the others nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::soak::Random;

/// Longer than `timeouts.header`, after which half a head is cut.
const HOLD: Duration = Duration::from_secs(12);
/// Between two bytes of a slow reader, and how many it reads before it is tired.
const BYTE_EVERY: Duration = Duration::from_millis(100);
const BYTES: u32 = 150;
/// More than what the system takes in for who does not read.
const TOKENS: u32 = 8_000;
/// The largest body that is really sent.
const BODY_BYTES: u64 = 8 << 20;
/// Between two attempts of one who does not wait for anything.
const PAUSE: Duration = Duration::from_millis(100);

/// What no server should take for a request.
const MALFORMED: &[&[u8]] = &[
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /v1/parameters HTTP/1.1\r\n\r\n",
    b"GET /v1/parameters HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /v1/parameters HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET  /v1/parameters\tHTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/chat-messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"GET /v1/parameters HTTP/1.1\r\nHost: a\r\nX-Null: \0\r\n\r\n",
    b"GET /v1/parameters HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x04\x00\x00\x00\x00\x00",
];

/// A way to do harm.
#[derive(Debug, Clone, Copy)]
enum Way {
    Half,
    SlowRead,
    BigBody,
    MadeUp,
    Malformed,
    Idle,
}

/// A kind of harm.
#[derive(Debug)]
pub struct Harm {
    /// What it is called.
    pub name: &'static str,
    way: Way,
    /// How many are at it at once.
    at_once: u64,
}

const fn harm(name: &'static str, way: Way, at_once: u64) -> Harm {
    Harm { name, way, at_once }
}

/// All of them.
pub const HARMS: &[Harm] = &[
    harm("half", Way::Half, 32),
    harm("slow-read", Way::SlowRead, 6),
    harm("big-body", Way::BigBody, 2),
    harm("made-up-id", Way::MadeUp, 4),
    harm("malformed", Way::Malformed, 8),
    harm("idle", Way::Idle, 200),
];

/// What a hostile client does, and how often it has done each.
#[derive(Debug)]
pub struct Done(Vec<(&'static Harm, AtomicU64)>);

impl Done {
    /// These kinds, and nothing so far.
    #[must_use]
    pub fn new(harms: Vec<&'static Harm>) -> Self {
        Self(harms.into_iter().map(|harm| (harm, AtomicU64::new(0))).collect())
    }

    /// The names and figures.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        self.0.iter().map(|(harm, count)| (harm.name, count.load(Ordering::Relaxed))).collect()
    }
}

/// Does harm for as long as it is polled.
pub async fn hostile(target: SocketAddr, token: &'static str, seed: u64, done: Arc<Done>) {
    let mut tasks = JoinSet::new();
    for (place, (harm, _)) in done.0.iter().enumerate() {
        for number in 0..harm.at_once {
            let (done, way) = (Arc::clone(&done), harm.way);
            let mut client = Client {
                target,
                token,
                random: Random::new(seed ^ ((place as u64) << 32) ^ number),
            };
            tasks.spawn(async move {
                // Not all at the same time.
                sleep(Duration::from_millis(client.random.below(5000))).await;
                loop {
                    // That it is cut off is what it has to expect.
                    let _ = client.harm(way).await;
                    if let Some((_, count)) = done.0.get(place) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    sleep(PAUSE).await;
                }
            });
        }
    }
    tasks.join_all().await;
}

struct Client {
    target: SocketAddr,
    token: &'static str,
    random: Random,
}

impl Client {
    async fn harm(&mut self, way: Way) -> io::Result<()> {
        match way {
            Way::Half => self.half().await,
            Way::SlowRead => self.slow_read().await,
            Way::BigBody => self.big_body().await,
            Way::MadeUp => self.made_up().await,
            Way::Malformed => self.malformed().await,
            Way::Idle => self.idle().await,
        }
    }

    /// The head of a POST with a body of so many bytes.
    fn head(&self, path: &str, length: usize) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: dify\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
            self.token
        )
    }

    /// A part of a request, and no more.
    async fn half(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.target).await?;
        let whole = self.head("/v1/chat-messages", 1000) + "{\"query\": \"";
        let cut = 1 + self.random.below(whole.len() as u64) as usize;
        stream.write_all(whole.as_bytes().get(..cut).unwrap_or_default()).await?;
        drain(&mut stream, HOLD).await
    }

    /// A long stream, of which hardly anything is read.
    async fn slow_read(&mut self) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        let mut stream = socket.connect(self.target).await?;
        let user = format!("slow-{}", self.random.below(50));
        let query = format!("tokens {TOKENS} 0");
        let body = json!({
            "inputs": {}, "query": query, "response_mode": "streaming", "user": user,
        });
        let body = body.to_string();
        let request = self.head("/v1/chat-messages", body.len()) + &body;
        stream.write_all(request.as_bytes()).await?;
        for _ in 0..BYTES {
            stream.read_u8().await?;
            sleep(BYTE_EVERY).await;
        }
        Ok(())
    }

    /// A body that is large, or is said to be.
    async fn big_body(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.target).await?;
        let size = self.random.below(BODY_BYTES) as usize;
        let (path, body) = match self.random.below(4) {
            0 => {
                // Larger than any limit.
                let head = self.head("/v1/chat-messages", 1 << 40);
                stream.write_all(head.as_bytes()).await?;
                return drain(&mut stream, HOLD).await;
            }
            1 => {
                let list = "1,".repeat(size / 2);
                let body = format!("{{\"model\":\"shop\",\"user\":\"u\",\"messages\":[{list}1]}}");
                ("/v1/chat/completions", body)
            }
            2 => ("/v1/chat-messages", "[".repeat(size)),
            _ => {
                ("/v1/chat-messages", format!("{{\"user\":\"big\",\"query\":{}", "1".repeat(size)))
            }
        };
        stream.write_all(self.head(path, body.len()).as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await?;
        drain(&mut stream, HOLD).await
    }

    /// Ids that nobody has ever given out.
    async fn made_up(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.target).await?;
        let id = self.id();
        let (method, path) = match self.random.below(6) {
            0 => ("GET", format!("/v1/messages?user=mallory&conversation_id={id}")),
            1 => ("GET", format!("/v1/workflows/run/{id}")),
            2 => ("GET", format!("/v1/messages/{id}/suggested?user=mallory")),
            3 => ("DELETE", format!("/v1/conversations/{id}?user=mallory")),
            4 => ("POST", format!("/v1/chat-messages/{id}/stop")),
            _ => ("POST", format!("/v1/conversations/{id}/name")),
        };
        let body = if method == "GET" { "" } else { "{\"user\":\"mallory\",\"name\":\"n\"}" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: dify\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        drain(&mut stream, HOLD).await
    }

    fn id(&mut self) -> String {
        let mut part = |digits: usize, limit| format!("{:0digits$x}", self.random.below(limit));
        let (a, b, c) = (part(8, 1 << 32), part(4, 1 << 16), part(3, 1 << 12));
        let (d, e) = (part(3, 1 << 12), part(12, 1 << 48));
        format!("{a}-{b}-4{c}-8{d}-{e}")
    }

    /// What is no request.
    async fn malformed(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.target).await?;
        let which = self.random.below(MALFORMED.len() as u64 + 1) as usize;
        match MALFORMED.get(which) {
            Some(bytes) => stream.write_all(bytes).await?,
            None => {
                let noise: Vec<_> = (0..2000).map(|_| self.random.below(256) as u8).collect();
                stream.write_all(&noise).await?;
            }
        }
        drain(&mut stream, Duration::from_secs(2)).await
    }

    /// A connection for nothing.
    async fn idle(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.target).await?;
        let time = Duration::from_millis(1000 + self.random.below(15_000));
        drain(&mut stream, time).await
    }
}

/// Reads till the end, but not for longer than that.
async fn drain(stream: &mut TcpStream, time: Duration) -> io::Result<()> {
    let mut some = vec![0; 4096];
    let read = async {
        while stream.read(&mut some).await? > 0 {}
        Ok(())
    };
    timeout(time, read).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::{Client, Done, HARMS, MALFORMED, Way, hostile};
    use crate::soak::Random;

    #[tokio::test]
    async fn a_half_request_is_never_whole_and_ids_look_like_ids() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let mut client = Client { target, token: "t", random: Random::new(7) };
        let id = client.id();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
        let taken = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = vec![0; 4096];
            let read = stream.read(&mut some).await.unwrap();
            String::from_utf8(some[..read].to_vec()).unwrap()
        };
        let (text, _) = tokio::join!(taken, client.harm(Way::Half));
        assert!(text.starts_with('P') && !text.ends_with('}'), "{text}");
    }

    #[tokio::test]
    async fn every_kind_is_done_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let done = Arc::new(Done::new(HARMS.iter().collect()));
        // Whoever comes is sent away at once.
        let closing = async {
            loop {
                drop(listener.accept().await.unwrap());
            }
        };
        let all = async {
            while done.figures().iter().any(|(_, count)| *count == 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let harm = hostile(target, "t", 1, Arc::clone(&done));
        let busy = async {
            tokio::select! { () = harm => {}, () = closing => {}, () = all => {} }
        };
        timeout(Duration::from_secs(60), busy).await.unwrap();
        assert_eq!(done.figures().len(), HARMS.len());
        assert!(MALFORMED.len() > 10);
    }
}
