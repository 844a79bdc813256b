//! An instance made of bare sockets: it notes every byte it gets, and says what it is told to.

#![expect(clippy::disallowed_types, reason = "an instance for tests, not the way of a request")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::case::Case;
use super::wire::{First, Message, request};

/// What it has heard and shall say.
#[derive(Default)]
pub(super) struct Heard {
    /// Requests, as `METHOD target bytes`.
    pub requests: Vec<String>,
    /// What was not a request as the gateway must write it.
    pub faults: Vec<String>,
    /// Answered to any request that is not for `/v1/echo…`; empty for an echo.
    answers: Vec<Vec<u8>>,
    holds: bool,
}

/// An instance of bare sockets.
pub(super) struct Origin {
    pub addr: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

impl Origin {
    /// Listens on a port of its own.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let shared = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { addr, heard }
    }

    /// Forgets what it heard; from now on it answers as the case says.
    pub(super) fn play(&self, case: &Case) {
        let (answers, holds) = (case.answers.clone(), case.holds);
        *self.heard.lock().unwrap() = Heard { answers, holds, ..Heard::default() };
    }

    /// What it has heard since.
    pub(super) fn heard(&self) -> (Vec<String>, Vec<String>) {
        let heard = self.heard.lock().unwrap();
        (heard.requests.clone(), heard.faults.clone())
    }
}

async fn serve(mut stream: TcpStream, heard: Arc<Mutex<Heard>>) {
    let mut bytes = Vec::new();
    loop {
        match request(&bytes) {
            Ok(First::Message(message, end)) => {
                bytes.drain(..end);
                if !answer(&mut stream, &message, &heard).await {
                    return;
                }
            }
            Ok(First::Partial) => match stream.read_buf(&mut bytes).await {
                Ok(1..) => {}
                _ if bytes.is_empty() => return,
                _ => {
                    let text = format!("half a request: {}", bytes.escape_ascii());
                    heard.lock().unwrap().faults.push(text);
                    return;
                }
            },
            Err(fault) => {
                let text = format!("{fault}: {}", bytes.escape_ascii());
                heard.lock().unwrap().faults.push(text);
                return;
            }
        }
    }
}

/// Whether the connection serves another request.
async fn answer(stream: &mut TcpStream, message: &Message, heard: &Mutex<Heard>) -> bool {
    let line = message.start.trim_end_matches(" HTTP/1.1");
    let (answers, holds) = {
        let mut heard = heard.lock().unwrap();
        heard.requests.push(format!("{line} {}", message.body.len()));
        (heard.answers.clone(), heard.holds)
    };
    if answers.is_empty() || line.contains(" /v1/echo") {
        let body = format!("echo {line}");
        let length = body.len();
        // No connection outlives a case, so that none begins with one that may be stale.
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let text = if line.starts_with("HEAD ") { head } else { head + &body };
        let _ = stream.write_all(text.as_bytes()).await;
        return false;
    }
    for (number, piece) in answers.iter().enumerate() {
        if number > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        if stream.write_all(piece).await.is_err() {
            return false;
        }
    }
    holds
}
