//! Every recorded stream of a run, played by a server that leaves the response open after the last
//! event, as Dify may for 300 s. Clients of all protocols get their end with the end of the run.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::rig::{Rig, send};

/// Streams under way at a time, each with three sockets and its clients.
const AT_A_TIME: usize = 60;

/// A recorded stream of a run.
struct Recorded {
    case: String,
    /// Of the app that spoke, as `/v1/info` says it.
    mode: &'static str,
    method: String,
    target: String,
    body: String,
}

impl Recorded {
    fn events(&self) -> impl Iterator<Item = Value> {
        let whole = self.body.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let data = whole.split("\n\n").filter_map(|frame| frame.strip_prefix("data:"));
        data.filter_map(|data| serde_json::from_str(data).ok())
    }

    /// Whether the run ends in it; else Dify was killed, or the recording cut.
    fn has_end(&self) -> bool {
        let goes_on = self.target.contains("continue_on_pause=true");
        self.events().any(|event| match event["event"].as_str() {
            Some("message_end" | "workflow_finished" | "error") => true,
            Some("workflow_paused") => !goes_on,
            _ => false,
        })
    }

    /// Whether it says that the run failed. A stop is no failure, whatever it is called.
    fn has_failed(&self) -> bool {
        let is_stop =
            |why: &Value| why.as_str().is_some_and(|it| it.contains("User requested stop"));
        self.events().any(|event| match event["event"].as_str() {
            Some("error") => !is_stop(&event["message"]),
            Some("workflow_finished") => {
                event["data"]["status"] == "failed" && !is_stop(&event["data"]["error"])
            }
            _ => false,
        })
    }
}

/// All streams of both folders of recordings.
fn recorded() -> Vec<Recorded> {
    let mut found = Vec::new();
    let mut modes: HashMap<String, &'static str> = HashMap::new();
    for folder in ["recordings", "recordings-1.14"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dify-sim").join(folder);
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            let recording: Value = serde_json::from_str(&text).unwrap_or_default();
            let text = |name: &str| recording[name].as_str().unwrap_or_default().to_owned();
            let (head, request, body) =
                (text("head").to_lowercase(), text("request"), text("body"));
            if !head.contains("text/event-stream") || !head[..head.len().min(12)].ends_with(" 200")
            {
                continue;
            }
            let mut line = request.split(' ');
            let (method, target) = (line.next().unwrap(), line.next().unwrap());
            let key = request.split("Bearer ").nth(1).unwrap().split_whitespace().next().unwrap();
            let mode = modes.entry(key.to_owned()).or_insert("chat");
            // What an app is, one of its streams shows.
            if target.starts_with("/v1/workflows/") {
                *mode = "workflow";
            } else if target.starts_with("/v1/completion-messages") {
                *mode = "completion";
            } else if target.starts_with("/v1/chat-messages")
                && body.contains("\"workflow_started\"")
            {
                *mode = "advanced-chat";
            } else if body.contains("\"agent_thought\"") {
                *mode = "agent-chat";
            }
            let (method, target) = (method.to_owned(), target.to_owned());
            found.push((
                key.to_owned(),
                Recorded { case: text("case"), mode: "", method, target, body },
            ));
        }
    }
    found.into_iter().map(|(key, one)| Recorded { mode: modes[&key], ..one }).collect()
}

/// What a request is recognised by.
fn marker(number: usize) -> String {
    format!("recording-{number}-")
}

/// Plays recordings by the markers of requests, each left open until the round is over.
struct Player {
    addr: SocketAddr,
    round: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Player {
    async fn start(all: Arc<Vec<Recorded>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (round, over) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(socket, Arc::clone(&all), over.clone()));
            }
        });
        Self { addr, round, task }
    }

    fn next_round(&self) {
        self.round.send_modify(|round| *round += 1);
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut socket: TcpStream, all: Arc<Vec<Recorded>>, mut round: watch::Receiver<u32>) {
    while let Some(request) = read_request(&mut socket).await {
        let marked = request.split("recording-").nth(1).and_then(|rest| rest.split('-').next());
        let Some(number) = marked.and_then(|number| number.parse::<usize>().ok()) else {
            let json = about_the_app(&request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                json.len()
            );
            if socket.write_all((head + &json).as_bytes()).await.is_err() {
                return;
            }
            continue;
        };
        let now = *round.borrow();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        let mut sent = socket.write_all(head.as_bytes()).await;
        for frame in all[number].body.split_inclusive("\n\n") {
            let chunk = format!("{:x}\r\n{frame}\r\n", frame.len());
            sent = sent.and(socket.write_all(chunk.as_bytes()).await);
        }
        if sent.is_ok() && all[number].has_end() {
            let _ = round.wait_for(|round| *round != now).await;
        }
        return;
    }
}

/// A whole request; none if the other side closes.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let mut lengths =
                fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = lengths.next().map_or(0, |(_, length)| length.parse::<usize>().unwrap());
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// `/v1/info` and `/v1/parameters` in one.
fn about_the_app(request: &str) -> String {
    let mode = request.split("app-of-").nth(1).and_then(|rest| rest.split_whitespace().next());
    let input = json!({"paragraph": {"variable": "query", "label": "query", "required": true}});
    json!({"name": "shop", "mode": mode.unwrap_or("chat"), "user_input_form": [input]}).to_string()
}

const MODES: [&str; 5] = ["chat", "agent-chat", "advanced-chat", "workflow", "completion"];

/// A gateway before the player, with an app of each mode.
async fn gateway(player: &Player) -> Rig {
    let rig = Rig::start(1).await;
    let apps: String = MODES
        .iter()
        .map(|mode| {
            format!(
                "  {mode}:\n    user_tokens: [usertoken--{mode}]\n    instances: [{{ name: one, url: \
                 \"http://{}\", token: app-of-{mode}, max_concurrent: 1000, max_fails: 10000 }}]\n",
                player.addr
            )
        })
        .collect();
    let top = "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nprobe: { enabled: false }\n";
    std::fs::write(&rig.config_path, format!("{top}apps:\n{apps}")).unwrap();
    rig.gateway.reloader().reload().await.unwrap();
    rig
}

fn request(mode: &str, method: &str, target: &str, body: &Value) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(target);
    let request = request.header("authorization", format!("Bearer usertoken--{mode}"));
    let body = if method == "GET" { Bytes::new() } else { body.to_string().into() };
    request.header("content-type", "application/json").body(body).unwrap()
}

/// The recorded request again, as far as it says what is asked for.
fn native(recorded: &Recorded, number: usize) -> Request<Bytes> {
    let mark = marker(number);
    let (path, query) = recorded.target.split_once('?').unwrap_or((&recorded.target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("user="));
    let query: String = query.map(|pair| format!("&{pair}")).collect();
    let target = match recorded.method.as_str() {
        "GET" => format!("{path}?user={mark}{query}"),
        _ => path.to_owned(),
    };
    let body = json!({"inputs": {}, "query": mark, "response_mode": "streaming", "user": "alice"});
    request(recorded.mode, &recorded.method, &target, &body)
}

/// Sends what `asked` makes of each recording, and gives all that came until the end of the response.
async fn play(
    asked: impl Fn(&Recorded, usize) -> Option<Request<Bytes>>,
    mut check: impl FnMut(&Recorded, &str),
) {
    let all = Arc::new(recorded());
    let player = Player::start(Arc::clone(&all)).await;
    let rig = gateway(&player).await;
    let numbers: Vec<_> = (0..all.len()).collect();
    for numbers in numbers.chunks(AT_A_TIME) {
        let mut round = JoinSet::new();
        for &number in numbers {
            let Some(request) = asked(&all[number], number) else { continue };
            let (addr, case) = (rig.addr(), all[number].case.clone());
            round.spawn(async move {
                // The player would never end it.
                let answer = timeout(Duration::from_secs(100), send(addr, request)).await;
                (number, answer.unwrap_or_else(|_| panic!("{case} stays open")).text())
            });
        }
        for (number, text) in round.join_all().await {
            check(&all[number], &text);
        }
        player.next_round();
    }
}

#[tokio::test]
async fn no_ai_stream_stays_open_after_any_recorded_run() {
    let responses = ["event: response.completed\n", "event: response.incomplete\n"];
    for (path, ends) in [
        ("/v1/chat/completions", &["data: [DONE]\n\n"][..]),
        ("/v1/messages", &["event: message_stop\n"]),
        ("/v1/responses", &responses),
    ] {
        let asked = |recorded: &Recorded, number: usize| {
            let mark = marker(number);
            let messages = json!([{"role": "user", "content": mark}]);
            let body = json!({"model": recorded.mode, "messages": messages, "input": mark,
                "max_tokens": 9, "stream": true});
            // What is read of a run that is under way already is no run of an AI client's.
            let is_run = recorded.method == "POST";
            is_run.then(|| request(recorded.mode, "POST", path, &body))
        };
        let (mut ended, mut failed) = (0, 0);
        play(asked, |recorded, text| {
            let case = &recorded.case;
            let is_done = ends.iter().any(|end| text.contains(end));
            if recorded.has_end() && !recorded.has_failed() {
                assert!(is_done, "{path} {case}: {text}");
                ended += 1;
            } else {
                assert!(text.contains("\"error\"") && !is_done, "{path} {case}: {text}");
                failed += 1;
            }
        })
        .await;
        assert!(ended >= 145 && failed >= 65, "{path}: {ended} {failed}");
    }
}

#[tokio::test]
async fn no_native_stream_stays_open_after_any_recorded_run() {
    let (mut ended, mut cut) = (0, 0);
    let asked = |recorded: &Recorded, number: usize| Some(native(recorded, number));
    play(asked, |recorded, text| {
        let case = &recorded.case;
        if recorded.has_end() {
            assert_eq!(text, recorded.body, "{case}");
            ended += 1;
        } else {
            // Of a stream that may be gone on with no half event is passed on.
            let told = text.split("data: {\"event\": \"error\"").next().unwrap().trim_end();
            assert!(told.len() < text.trim_end().len(), "{case}: {text}");
            assert!(recorded.body.starts_with(told), "{case}: {text}");
            cut += 1;
        }
    })
    .await;
    assert!(ended >= 185 && cut >= 20, "{ended} {cut}");
}
