//! An instance that answers as quickly as it can, always the same.
//!
//! One thread serves all instances of a comparison. What it answers, the request says:
//!
//! | request | answer |
//! |---|---|
//! | `"response_mode": "streaming"` | events of 200 bytes, ten a second, until [`Instances::let_go`] |
//! | the same, and the words `in brief` | one such event and the end |
//! | a run of the gateway's own of more than 32 KiB | the same: all of its own are streamed |
//! | header `x-hold` | 200 with 584 bytes, but not before [`Instances::let_go`] |
//! | `GET /v1/info`, `GET /v1/parameters` | those of a chatflow |
//! | `POST /v1/chat/completions` | a chat completion of OpenAI's |
//! | anything else | 200 with 584 bytes |
//!
//! A key that does not begin with `app-` gets 401, unless the request has `x-plain`: a contender
//! that does not replace the token is found out. Each answer says in `x-instance` who gave it.
//! Deliberately absent: chunked requests (411), which nothing here sends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use memchr::memmem;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::speed::cores::bind;

/// Bytes of the body of an ordinary answer.
pub const ANSWER: usize = 584;
/// Time between two events of a stream.
pub const EVERY: Duration = Duration::from_millis(100);
/// Bytes of an event, its empty line included.
pub const EVENT: usize = 200;
/// Stands before the time at which an event was sent, 16 digits of nanoseconds.
pub const MARK: u8 = b'@';

/// Time zero of the marks; generator and instance share it as they share the process.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

const ID: &str = "6f3f0d3e-8e5c-4d38-9d0b-5f9a7f6b1c2d";
const INFO: &str =
    r#"{"name":"bench","description":"","tags":[],"mode":"advanced-chat","author_name":"bench"}"#;
const PARAMETERS: &str = r#"{"opening_statement":"","suggested_questions":[],"user_input_form":[],"file_upload":{"enabled":false},"system_parameters":{}}"#;
const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1795248319,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"The shortest way is straight ahead."},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":8,"total_tokens":48}}"#;

/// Now, as marks have it.
#[must_use]
pub fn now_ns() -> u64 {
    u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Instances that serve until the process ends.
#[derive(Debug)]
pub struct Instances {
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
    gate: watch::Sender<u64>,
}

impl Instances {
    /// Starts so many on one thread that is bound to a core.
    ///
    /// # Errors
    /// No port or no thread.
    pub fn start(count: usize, core: usize) -> anyhow::Result<Self> {
        let (gate, _) = watch::channel(0);
        let listeners = (0..count).map(|_| listen()).collect::<io::Result<Vec<_>>>()?;
        let addresses =
            listeners.iter().map(std::net::TcpListener::local_addr).collect::<io::Result<_>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let theirs = gate.clone();
        std::thread::Builder::new().name("instance".to_owned()).spawn(move || {
            bind(core);
            runtime.block_on(async move {
                for (number, listener) in listeners.into_iter().enumerate() {
                    tokio::spawn(accept(listener, Arc::new(Texts::new(number)), theirs.clone()));
                }
                std::future::pending::<()>().await;
            });
        })?;
        Ok(Self { addresses, gate })
    }

    /// Ends all streams and answers all requests that are held.
    pub fn let_go(&self) {
        self.gate.send_modify(|turn| *turn += 1);
    }
}

/// With room for thousands who come at once; the standard library's listeners have less.
fn listen() -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(8192)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn accept(listener: std::net::TcpListener, texts: Arc<Texts>, gate: watch::Sender<u64>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (texts, gate) = (Arc::clone(&texts), gate.subscribe());
        // A connection that breaks is the other side's affair.
        tokio::spawn(async move { serve(stream, &texts, gate).await });
    }
}

/// What an instance says, head and body in one piece.
struct Texts {
    ordinary: Vec<u8>,
    info: Vec<u8>,
    parameters: Vec<u8>,
    completion: Vec<u8>,
    unauthorized: Vec<u8>,
    unmeasured: Vec<u8>,
    stream: Vec<u8>,
}

impl Texts {
    fn new(number: usize) -> Self {
        let text = |status: &str, body: &str| {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Version: 1.5.0\r\n\
                 X-Instance: {number}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            head.into_bytes()
        };
        let begin = format!(
            "{{\"event\":\"message\",\"task_id\":\"{ID}\",\"id\":\"{ID}\",\"message_id\":\"{ID}\",\
             \"conversation_id\":\"{ID}\",\"mode\":\"advanced-chat\",\"answer\":\""
        );
        let end = "\",\"metadata\":{\"usage\":{}},\"created_at\":1795248319}";
        let fill = "x".repeat(ANSWER.saturating_sub(begin.len() + end.len()));
        Self {
            ordinary: text("200 OK", &format!("{begin}{fill}{end}")),
            info: text("200 OK", INFO),
            parameters: text("200 OK", PARAMETERS),
            completion: text("200 OK", COMPLETION),
            unauthorized: text("401 UNAUTHORIZED", "{\"code\":\"unauthorized\"}"),
            unmeasured: text("411 LENGTH REQUIRED", "{}"),
            stream: format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Version: 1.5.0\r\n\
                 X-Instance: {number}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            .into_bytes(),
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy)]
enum Wish {
    Ordinary,
    Info,
    Parameters,
    Completion,
    Hold,
    Stream,
    Short,
    Unauthorized,
    Unmeasured,
}

/// Requests of one connection, one after the other.
async fn serve(
    mut stream: TcpStream,
    texts: &Texts,
    mut gate: watch::Receiver<u64>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        buffer.clear();
        let (wish, mut left) = loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            if let Some(understood) = understand(&buffer)? {
                break understood;
            }
        };
        // Large bodies are taken in and forgotten.
        let mut sink = if left > 0 { vec![0; left.min(256 * 1024)] } else { Vec::new() };
        while left > 0 {
            let most = left.min(sink.len());
            let read = stream.read(sink.get_mut(..most).unwrap_or_default()).await?;
            if read == 0 {
                return Ok(());
            }
            left -= read;
        }
        let text = match wish {
            Wish::Ordinary => &texts.ordinary,
            Wish::Info => &texts.info,
            Wish::Parameters => &texts.parameters,
            Wish::Completion => &texts.completion,
            Wish::Unauthorized => &texts.unauthorized,
            Wish::Unmeasured => &texts.unmeasured,
            Wish::Hold => {
                gate.mark_unchanged();
                let _ = gate.changed().await;
                &texts.ordinary
            }
            Wish::Short => {
                stream.write_all(&texts.stream).await?;
                stream.write_all(&event(now_ns())).await?;
                stream.write_all(end().as_bytes()).await?;
                continue;
            }
            Wish::Stream => {
                events(&mut stream, texts, &mut gate).await?;
                continue;
            }
        };
        stream.write_all(text).await?;
    }
}

/// What is wanted and how much of the body is still to come, once the head is there; small bodies
/// are awaited whole, because they say what is wanted.
fn understand(buffer: &[u8]) -> io::Result<Option<(Wish, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(buffer) else {
        let bad = buffer.len() > 32 * 1024;
        return if bad { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value)
    };
    let length = header("content-length").and_then(|text| std::str::from_utf8(text).ok());
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or_default();
    let body = buffer.get(head..).unwrap_or_default();
    let left = length.saturating_sub(body.len());
    if left > 0 && length <= 32 * 1024 {
        return Ok(None);
    }
    let is_gateway = header("user-agent").is_some_and(|agent| agent.starts_with(b"difygate/"));
    let (path, has_key) = (
        request.path.unwrap_or_default(),
        header("authorization").is_some_and(|key| key.starts_with(b"Bearer app-")),
    );
    let wish = if header("transfer-encoding").is_some() {
        Wish::Unmeasured
    } else if !has_key && header("x-plain").is_none() {
        Wish::Unauthorized
    } else if path.starts_with("/v1/info") {
        Wish::Info
    } else if path.starts_with("/v1/parameters") {
        Wish::Parameters
    } else if path.ends_with("/chat/completions") {
        Wish::Completion
    } else if header("x-hold").is_some() {
        Wish::Hold
    } else if length > 32 * 1024 && path.starts_with("/v1/chat-messages") && is_gateway {
        Wish::Short
    } else if length < 32 * 1024 && memmem::find(body, b"\"streaming\"").is_some() {
        if memmem::find(body, b"in brief").is_some() { Wish::Short } else { Wish::Stream }
    } else {
        Wish::Ordinary
    };
    Ok(Some((wish, left)))
}

/// Events until they are let go.
async fn events(
    stream: &mut TcpStream,
    texts: &Texts,
    gate: &mut watch::Receiver<u64>,
) -> io::Result<()> {
    gate.mark_unchanged();
    stream.write_all(&texts.stream).await?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => stream.write_all(&event(now_ns())).await?,
            _ = gate.changed() => break,
        }
    }
    stream.write_all(end().as_bytes()).await
}

/// The end that Dify gives to a chat.
fn end() -> String {
    let data = format!(
        "data: {{\"event\":\"message_end\",\"task_id\":\"{ID}\",\"message_id\":\"{ID}\",\
         \"conversation_id\":\"{ID}\",\"metadata\":{{\"usage\":{{}}}}}}\n\n"
    );
    format!("{:x}\r\n{data}\r\n0\r\n\r\n", data.len())
}

/// One event as a chunk.
fn event(at_ns: u64) -> Vec<u8> {
    let begin = format!(
        "data: {{\"event\":\"message\",\"conversation_id\":\"{ID}\",\"message_id\":\"{ID}\",\
         \"answer\":\"@{at_ns:016}"
    );
    let end = "\"}\n\n";
    let fill = EVENT.saturating_sub(begin.len() + end.len());
    format!("{EVENT:x}\r\n{begin}{:.<fill$}{end}\r\n", "").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{ANSWER, EVENT, Texts, event};

    #[test]
    fn answers_and_events_have_their_sizes() {
        let ordinary = Texts::new(3).ordinary;
        let text = String::from_utf8(ordinary).unwrap();
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), ANSWER);
        let chunk = String::from_utf8(event(5)).unwrap();
        let data = chunk.strip_prefix("c8\r\n").unwrap().strip_suffix("\r\n").unwrap();
        assert_eq!(data.len(), EVENT, "{data}");
        let json = data.strip_prefix("data: ").unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "{json}");
    }
}
