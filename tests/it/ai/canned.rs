//! An instance that answers what a test says: for what no Dify says by itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use difygate::telemetry::{Destination, Format};
use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Answer, send};

/// Status line, fields and body of an answer.
pub(super) type Said = (&'static str, String, String);

pub(super) type Answers = dyn Fn(&str) -> Option<Said> + Send + Sync;

/// A gateway with the app `shop` of mode `chat` over one canned instance.
pub(super) struct Canned {
    gateway: Gateway,
    log: PathBuf,
    _folder: TempDir,
}

/// An event stream of Dify's.
pub(super) fn stream(events: &[Value]) -> Said {
    let lines: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    ("200 OK", "content-type: text/event-stream\r\n".to_owned(), lines)
}

/// A page for people.
pub(super) fn page(status: &'static str) -> Said {
    let page = format!("<html><head><title>{status}</title></head></html>");
    (status, "content-type: text/html\r\n".to_owned(), page)
}

impl Canned {
    /// `says` answers by method and path; what it leaves open is answered as a chat app of Dify does.
    pub(super) async fn start(
        settings: &str,
        says: impl Fn(&str) -> Option<Said> + Send + Sync + 'static,
    ) -> Self {
        Self::over("", vec![(settings.to_owned(), Arc::new(says))]).await
    }

    /// The same over several, each with settings of its own; `top` stands above the apps.
    pub(super) async fn over(top: &str, all: Vec<(String, Arc<Answers>)>) -> Self {
        let mut instances = String::new();
        for (number, (settings, says)) in (1..).zip(all) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&says)));
                }
            });
            instances += &format!(
                "      - {{ name: dify{number}, url: \"http://{at}\", token: app-shop-{number}{settings} }}\n"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("difygate.yaml");
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\nprobe: {{ enabled: false }}\n\
             keys: [{{ name: team, secret: sk-team }}]\n{top}apps:\n  shop:\n    \
             user_tokens: [usertoken--shop]\n    instances:\n{instances}"
        );
        std::fs::write(&path, text).unwrap();
        let loaded = config::load(&path, &Environment::default()).unwrap();
        let log = folder.path().join("access.log");
        let told = Some((Format::Json, Destination::File(log.clone())));
        let gateway = Gateway::start(loaded.config, path, told).await.unwrap();
        Self { gateway, log, _folder: folder }
    }

    /// Where clients connect.
    pub(super) fn addr(&self) -> SocketAddr {
        self.gateway.listen()
    }

    /// A POST with the key of the AI endpoints.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("authorization", "Bearer sk-team")
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()));
        send(self.addr(), request.unwrap()).await
    }

    /// A question to the app.
    pub(super) async fn ask(&self, streamed: bool) -> Answer {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let body = json!({"model": "shop", "messages": messages, "stream": streamed});
        self.post("/v1/chat/completions", &body).await
    }

    /// Ends the gateway; the lines of its access log.
    pub(super) async fn logged(self) -> Vec<Value> {
        self.gateway.drain().await;
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn serve(mut stream: TcpStream, says: Arc<Answers>) {
    let mut asked = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&asked).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                let line = head.lines().next().unwrap_or_default();
                let line = line.split('?').next().unwrap_or_default();
                let (status, fields, body) =
                    says(line.trim_end_matches(" HTTP/1.1")).unwrap_or_else(|| usual(line));
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                return;
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => asked.extend_from_slice(&piece[..count]),
        }
    }
}

fn usual(line: &str) -> Said {
    let body = if line.contains("/v1/info") {
        json!({"name": "shop", "description": "", "tags": [], "mode": "chat"})
    } else if line.contains("/v1/parameters") {
        json!({"user_input_form": [], "file_upload": {}})
    } else {
        let (message, conversation) =
            (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
        let event = |name: &str| {
            json!({"event": name, "task_id": message, "message_id": message,
                "conversation_id": conversation, "created_at": 1, "answer": "Hello",
                "metadata": {}})
        };
        return stream(&[event("message"), event("message_end")]);
    };
    ("200 OK", "content-type: application/json\r\n".to_owned(), body.to_string())
}
