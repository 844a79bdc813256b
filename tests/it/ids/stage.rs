//! Two instances that answer as a real Dify 1.14.2 was recorded to, and gateways before them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::rig::{Answer, send};

/// A recorded answer.
struct Recorded {
    request: String,
    status: u16,
    content_type: String,
    body: Bytes,
}

fn recorded(case: &str) -> Recorded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dify-sim/recordings-1.14");
    let file = std::fs::read(folder.join(format!("{case}.json"))).unwrap();
    let written: Value = serde_json::from_slice(&file).unwrap();
    let text = |key: &str| written[key].as_str().unwrap_or_else(|| panic!("{case}: {key}"));
    let head = text("head");
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let content_type = lines.clone().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let mut words = text("request").split([' ', '?']);
    Recorded {
        request: format!("{} {}", words.next().unwrap(), words.next().unwrap()),
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        content_type: content_type.map(|(_, kind)| kind.to_owned()).unwrap_or_default(),
        body: text("body").to_owned().into(),
    }
}

/// The method and path that a recorded request had.
pub(crate) fn line_of(case: &str) -> String {
    recorded(case).request
}

/// The body of a recorded answer, as text.
pub(crate) fn text_of(case: &str) -> String {
    String::from_utf8(recorded(case).body.to_vec()).unwrap()
}

/// The same as JSON.
pub(crate) fn body_of(case: &str) -> Value {
    serde_json::from_str(&text_of(case)).unwrap()
}

/// What an instance was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Method and path.
    pub line: String,
    /// `Authorization`.
    pub key: Option<String>,
}

/// An instance that plays recordings.
pub(crate) struct Replay {
    addr: SocketAddr,
    asked: Receiver<Asked>,
}

impl Replay {
    /// Each case answers requests like its own, or those of the line before ` = `, or of these only
    /// such whose body has what follows ` ~ `; the first that fits. All else is not found, as Dify has
    /// it for a path that it does not know.
    async fn start(cases: &[&str]) -> Self {
        let page = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n";
        let rule = |case: &&str| {
            let (rule, case) = case.split_once(" = ").unwrap_or(("", case));
            let found = recorded(case);
            let (line, text) = rule.split_once(" ~ ").unwrap_or((rule, ""));
            let line = if line.is_empty() { found.request.clone() } else { line.to_owned() };
            (line, text.to_owned(), found)
        };
        let answers: Vec<_> = cases.iter().map(rule).collect();
        let answers = Arc::new(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (heard, asked) = channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, heard) = (Arc::clone(&answers), heard.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answers, heard) = (Arc::clone(&answers), heard.clone());
                    async move {
                        let line = format!("{} {}", request.method(), request.uri().path());
                        let key = request.headers().get(AUTHORIZATION);
                        let key = key.map(|key| key.to_str().unwrap().to_owned());
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let body = String::from_utf8_lossy(&body);
                        let fits = |(of, text, _): &&(String, String, Recorded)| {
                            *of == line && body.contains(text.as_str())
                        };
                        let found = answers.iter().find(fits).map(|(_, _, found)| found);
                        heard.send(Asked { line, key }).unwrap();
                        let (status, kind, body) = match found {
                            Some(found) => {
                                (found.status, found.content_type.as_str(), found.body.clone())
                            }
                            None => (404, "text/html; charset=utf-8", Bytes::from(page)),
                        };
                        let answer = Response::builder().status(status).header(CONTENT_TYPE, kind);
                        Ok::<_, Infallible>(answer.body(Full::new(body)).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { addr, asked }
    }

    /// What it was asked since this was called last.
    pub(crate) fn take(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }
}

/// `one` and `two`, and a gateway that knows nothing yet.
pub(crate) struct Stage {
    pub one: Replay,
    pub two: Replay,
    text: String,
    _folder: TempDir,
    gateway: Gateway,
}

/// The token of its only app.
pub(crate) const TOKEN: &str = "usertoken--shop";

impl Stage {
    /// Two instances that play these cases, of which `two` is asked first where nothing says more; `with` is added to the first line of each in the
    /// configuration, `#` being its number.
    pub(crate) async fn start(one: &[&str], two: &[&str], with: &str) -> Self {
        Self::with(one, two, with, "").await
    }

    /// The same with these keys of the app, and nothing added.
    pub(crate) async fn with_tokens(one: &[&str], two: &[&str], tokens: &str) -> Self {
        Self::of(one, two, ("", tokens), "").await
    }

    /// The same with more lines at the top of the configuration.
    pub(crate) async fn with(one: &[&str], two: &[&str], with: &str, top: &str) -> Self {
        Self::of(one, two, (with, "app-#"), top).await
    }

    async fn of(one: &[&str], two: &[&str], (with, token): (&str, &str), top: &str) -> Self {
        let (one, two) = (Replay::start(one).await, Replay::start(two).await);
        let line = |number: &str, addr: SocketAddr| {
            let with = [token, with].concat().replace('#', number);
            format!("      - {{ name: dify{number}, url: \"http://{addr}\", token: {with} }}\n")
        };
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\nprobe: {{ enabled: false }}\n\
             {top}\napps:\n  shop:\n    user_tokens: [{TOKEN}]\n    instances:\n{}{}",
            line("2", two.addr),
            line("1", one.addr),
        );
        let (gateway, folder) = gateway(&text).await;
        Self { one, two, text, _folder: folder, gateway }
    }

    /// The gateway gives way to one that knows nothing.
    pub(crate) async fn forget(&mut self) {
        (self.gateway, self._folder) = gateway(&self.text).await;
        self.take();
    }

    /// Whether both are in rotation.
    pub(crate) async fn are_both_in(&self) -> bool {
        let status = Request::get("/status").body("").unwrap();
        let status = send(self.gateway.admin(), status).await.json();
        let instances = &status["applications"]["shop"]["instances"];
        ["dify1", "dify2"].iter().all(|name| instances[name]["status"] == "healthy")
    }

    /// What both were asked.
    pub(crate) fn take(&self) -> (Vec<Asked>, Vec<Asked>) {
        (self.one.take(), self.two.take())
    }

    /// Sends a request with the app's token.
    pub(crate) async fn send(&self, line: &str, body: &str) -> Answer {
        self.ask(line, body, Some(TOKEN)).await
    }

    /// Sends a request.
    pub(crate) async fn ask(&self, line: &str, body: &str, token: Option<&str>) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        send(self.gateway.listen(), request.body(body.to_owned()).unwrap()).await
    }
}

async fn gateway(text: &str) -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    std::fs::write(&path, text).unwrap();
    let loaded = config::load(&path, &Environment::default())
        .unwrap_or_else(|findings| panic!("{findings}\n{text}"));
    (Gateway::start(loaded.config, path, None).await.unwrap(), folder)
}
