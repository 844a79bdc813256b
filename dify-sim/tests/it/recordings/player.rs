//! Plays the lines of `order-1.5.txt` against two instances and collects the differences.

use super::bodies;
use super::mask::{marks, masked};
use super::recording::{self, Recording};
use crate::client::Client;
use dify_sim::{App, Dify, Fault, Flow, Mode, Pace, Setup};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

pub(crate) struct Player {
    first: Dify,
    second: Dify,
    /// Ids and signatures of the recordings and what they are here.
    known: HashMap<String, String>,
    running: HashMap<String, (Recording, Client)>,
    pub(crate) played: BTreeSet<String>,
    pub(crate) equal: usize,
    pub(crate) differences: Vec<String>,
}

fn app(mode: Mode, key: &str, flow: Flow, name: &str) -> App {
    App::new(mode, key).with_flow(flow).with_name(name)
}

fn first_apps() -> Vec<App> {
    use Mode::{AdvancedChat, AgentChat, Chat, Completion, Workflow};
    let mut plain = app(Chat, "app-4OGfqOgxJ5qUPcxLHFEQjFJM", Flow::NoModel, "plain-chat");
    plain.description = "d".to_owned();
    vec![
        plain,
        app(AdvancedChat, "app-jhb4kgbjAE7wJD8blSdsz2hm", Flow::Echo, "chatflow-echo"),
        app(Workflow, "app-TX0OLvLFei4XgdEitzbFlgD6", Flow::Echo, "workflow-echo"),
        app(AdvancedChat, "app-TMI61OdwgRLkirJTq018pHpj", Flow::Echo, "off").with_api_disabled(),
        app(AdvancedChat, "app-jZYbA8qFOstiwjSxTSCCEh7u", Flow::Unpublished, "unpublished"),
        app(AgentChat, "app-bulpsRAKvc2eSur6gCwL1hGI", Flow::NoModel, "plain-agent"),
        app(AdvancedChat, "app-huk7MA1RPwNUNNTiYawCfg2J", Flow::Failing, "template"),
        app(AdvancedChat, "app-8YHeLYBcfbglyu3lChcXNHnJ", Flow::Files, "files"),
        app(AdvancedChat, "app-h7mJTIxYrIsyt1lrhFhAIOUD", Flow::Slow, "slow"),
        app(Completion, "app-Fw2YfIxMM6PjMcm2fa4Me9zx", Flow::NoModel, "plain-completion"),
        app(AdvancedChat, "app-kPx2Eh511DRwGwe1uCGuNpkH", Flow::SlowFirst, "slow-first")
            .with_max_active_requests(1),
        app(AgentChat, "app-Z4RmG9a1ggBCuqqzi9OKmXOL", Flow::Llm, "agent"),
        app(Chat, "app-pgIn0V2oqARn21N1cVpAmZfX", Flow::Llm, "chat"),
        app(AdvancedChat, "app-Ll029ykv03rXj82Ecwk3oPMN", Flow::Llm, "chatflow-llm"),
        app(Completion, "app-YlIPbOrumuL4NnCRjlwjty8q", Flow::Llm, "completion"),
        app(Workflow, "app-Qw9lzI18LUz7PvJwxRMHO4E9", Flow::Failing, "workflow-fail"),
        app(Workflow, "app-qDaapZ5REBpF58gjjwp6B1df", Flow::Slow, "workflow-slow"),
    ]
}

fn second_apps() -> Vec<App> {
    use Mode::{AdvancedChat, Workflow};
    vec![
        app(AdvancedChat, "app-9NzFqPa3Fg4EjQMtTyXb690f", Flow::Slow, "slow"),
        app(AdvancedChat, "app-e1SVxIz6ivKGqGi6zkApk7AV", Flow::Echo, "chatflow-echo"),
        app(AdvancedChat, "app-LIuCkxuzNRlApRzq1ofOR0YA", Flow::Files, "files"),
        app(Workflow, "app-LbsUl9vbUSeGDkZY5P7OsC3r", Flow::Echo, "workflow-echo"),
    ]
}

impl Player {
    pub(crate) async fn start() -> Self {
        // 25 s of the recordings are 1.5 s here.
        let pace = Pace {
            second: Duration::from_millis(60),
            ping_interval: Duration::from_millis(600),
            ..Pace::default()
        };
        let mut setup = Setup::default().with_release(dify_sim::Release::V1_5).with_pace(pace);
        setup.apps = first_apps();
        let setup = setup.with_dataset_key("dataset-aU2XFBTT76Nm3c2p2GoXfqCX");
        let mut other = Setup::default().with_release(dify_sim::Release::V1_5).with_pace(pace);
        other.apps = second_apps();
        Self {
            first: Dify::start(setup).await.unwrap(),
            second: Dify::start(other).await.unwrap(),
            known: HashMap::new(),
            running: HashMap::new(),
            played: BTreeSet::new(),
            equal: 0,
            differences: Vec::new(),
        }
    }

    fn dify(&self, port: u64) -> &Dify {
        if port == 5001 { &self.first } else { &self.second }
    }

    /// Plays one line; what lines there are stands at the top of `order-1.5.txt`.
    pub(crate) async fn play(&mut self, line: &str) {
        let mut words = line.splitn(2, ' ');
        let (word, rest) = (words.next().unwrap(), words.next().unwrap_or_default());
        match word {
            "&" => {
                let (name, chunks) = rest.split_once(' ').unwrap();
                let (recording, mut client) = self.send(name).await;
                let chunks = chunks.parse().unwrap();
                if chunks == 0 {
                    self.dify(recording.port).wait_for_open(1).await;
                } else {
                    client.read_chunks(chunks).await;
                    let early = String::from_utf8_lossy(&client.body).into_owned();
                    self.learn(&recording.body, &early);
                }
                self.running.insert(name.to_owned(), (recording, client));
            }
            "." => {
                let (recording, client) = self.running.remove(rest).unwrap();
                self.end(recording, client).await;
            }
            "!" => self.fault(rest).await,
            "~" => self.dify(rest.parse().unwrap()).finished().await,
            ">" => self.aside(rest).await,
            name => {
                let (recording, client) = self.send(name).await;
                self.end(recording, client).await;
            }
        }
    }

    async fn send(&mut self, name: &str) -> (Recording, Client) {
        let recording = recording::load(name);
        let mut text = recording.request.clone();
        for mark in marks(&recording.request) {
            if let Some(here) = self.known.get(mark) {
                text = text.replace(mark, here);
            }
        }
        let bytes = bodies::request(&recording, &text);
        let client = Client::send(self.dify(recording.port).addr(), &bytes).await;
        (recording, client)
    }

    async fn end(&mut self, recording: Recording, mut client: Client) {
        self.played.insert(recording.name.clone());
        let method = recording.request.split(' ').next().unwrap().to_owned();
        if recording.name == "raw-short-body" {
            let closed = client.is_closed(Duration::from_millis(100)).await;
            return self.judge(&recording, (!closed).then_some(()).ok_or("closed".to_owned()));
        }
        if recording.left_by_client {
            client.read_chunks(recording.chunks.len()).await;
        } else {
            client.read_all(&method).await;
        }
        let port = self.dify(recording.port).addr().port();
        let body = String::from_utf8_lossy(&client.body)
            .replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", recording.port));
        self.learn(&recording.body, &body);
        let result = compare(&recording, &mut client, &body, &method).await;
        self.judge(&recording, result);
    }

    fn judge(&mut self, recording: &Recording, result: Result<(), String>) {
        match result {
            Ok(()) => self.equal += 1,
            Err(text) => self.differences.push(format!("{}: {text}", recording.name)),
        }
    }

    /// Pairs the ids of the recording with ours.
    fn learn(&mut self, recorded: &str, ours: &str) {
        for (theirs, ours) in marks(recorded).into_iter().zip(marks(ours)) {
            if theirs != ours {
                self.known.entry(theirs.to_owned()).or_insert_with(|| ours.to_owned());
            }
        }
    }

    async fn fault(&mut self, words: &str) {
        let (fault, port) = words.split_once(' ').unwrap();
        let dify = self.dify(port.parse().unwrap());
        let fault = match fault {
            "none" => Fault::None,
            "frozen" => Fault::Frozen,
            "killed" => Fault::Killed,
            "database" => Fault::DatabaseDown,
            "redis" => Fault::RedisDown,
            "polite" => return dify.stop_politely().await,
            other => panic!("{other}"),
        };
        dify.set_fault(fault).await.unwrap();
    }

    /// A request that was not recorded, but made: `METHOD path key body [field=id …]`, where the
    /// fields of its answer become the ids of the recordings.
    async fn aside(&mut self, line: &str) {
        let (request, learned) = line.split_once(" => ").unwrap_or((line, ""));
        let mut parts = request.splitn(4, ' ');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (method, mut path, key, body) = (part(), part(), part(), part());
        for (theirs, ours) in &self.known {
            path = path.replace(theirs.as_str(), ours);
        }
        let mut text = body.clone();
        for (theirs, ours) in &self.known {
            text = text.replace(theirs.as_str(), ours);
        }
        let bytes = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let mut client = Client::send(self.first.addr(), bytes.as_bytes()).await;
        client.read_all(&method).await;
        assert!(client.head.starts_with("HTTP/1.1 20"), "{line}: {}", client.head);
        let answer: serde_json::Value = serde_json::from_slice(&client.body).unwrap_or_default();
        for pair in learned.split_whitespace() {
            let (field, id) = pair.split_once('=').unwrap();
            let ours = answer[field].as_str().unwrap().to_owned();
            self.known.insert(id.to_owned(), ours);
        }
    }
}

async fn compare(
    recording: &Recording,
    client: &mut Client,
    body: &str,
    method: &str,
) -> Result<(), String> {
    let differ = |what: &str, theirs: &str, ours: &str| {
        if theirs == ours { Ok(()) } else { Err(difference(what, theirs, ours)) }
    };
    differ("head", &head(&recording.head), &head(&client.head))?;
    differ("interim", &recording.interim.concat(), &client.interim.concat())?;
    if let Some(length) = client.header("Content-Length")
        && method != "HEAD"
    {
        differ("length", length, &client.body.len().to_string())?;
    }
    if let Some((start, rest)) = recording.body.split_once("... [") {
        let length = rest.split(' ').next().unwrap_or_default();
        differ("whole length", length, &body.len().to_string())?;
        let start = masked(start);
        return differ("start", &start, &masked(body)[..start.len()]);
    }
    if recording.chunks.is_empty() {
        differ("body", &masked(&recording.body), &masked(body))?;
    } else {
        let ours = body.to_owned();
        differ("events", &events(&recording.body), &events(&ours))?;
        if !recording.name.contains("stop") {
            let (theirs, ours) = (recording.chunks.len(), client.chunks.len());
            differ("number of chunks", &theirs.to_string(), &ours.to_string())?;
        }
        let one = |chunk: &String| chunk.is_empty() || chunk.matches("\n\n").count() == 1;
        if !client.chunks.iter().all(one) {
            return Err("a chunk is not one event".to_owned());
        }
    }
    if recording.left_by_client {
        return Ok(());
    }
    if client.header("Connection") == Some("close") && recording.name == "http10-stream" {
        // What ends with the connection cannot be told from a cut answer.
        return Ok(());
    }
    differ("complete", &recording.complete.to_string(), &client.complete.to_string())?;
    let closed = match recording.after.as_str() {
        "closed by server" => client.is_closed(Duration::from_secs(5)).await,
        "still open after 0.5 s" => client.is_closed(Duration::from_millis(2)).await,
        _ => return Ok(()),
    };
    let closed = if closed { "closed by server" } else { "still open after 0.5 s" };
    differ("after", &recording.after, closed)
}

/// The events of a stream, masked; runs of tokens of a stopped one are cut to the first.
fn events(body: &str) -> String {
    let stopped = body.contains("Stopped by user") || body.contains("0E-7");
    let mut kept: Vec<&str> = Vec::new();
    for event in body.split_inclusive("\n\n") {
        let again = kept.iter().any(|seen| seen.contains("\"tok0 \"")) && event.contains("\"tok");
        if !(stopped && again) {
            kept.push(event);
        }
    }
    masked(&kept.concat())
}

/// The head without what differs; lengths are compared with the body instead.
fn head(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once(": ") {
            Some((name @ ("Date" | "Content-Length"), _)) => format!("{name}: <some>\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

fn difference(what: &str, theirs: &str, ours: &str) -> String {
    let same = theirs.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
    let show = |text: &str| {
        let start = (0..=same.min(text.len()).saturating_sub(60))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text[start..].chars().take(400).collect::<String>()
    };
    format!(
        "{what} differs at {same}\n  recorded: {:?}\n  ours:     {:?}",
        show(theirs),
        show(ours)
    )
}
