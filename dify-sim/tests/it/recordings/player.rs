//! Plays the lines of an order against the instances and collects the differences.

use super::bodies;
use super::compare::{self, Played};
use super::landscape::{Instances, ONE_PLACE, TWO_RUNS};
use super::mask::marks;
use super::recording::{self, Recording};
use crate::client::Client;
use dify_sim::{Dify, Fault, RunEnd};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::sleep;

/// What a second of the recordings is here.
const SECOND: f64 = 0.06;
/// No answer within this is none at all.
const SILENCE: Duration = Duration::from_millis(500);

pub(crate) struct Player {
    pub(crate) folder: &'static str,
    instances: Instances,
    /// Ids and signatures of the recordings and what they are here.
    known: HashMap<String, String>,
    running: HashMap<String, (Recording, Client)>,
    /// Connections that are only to be there.
    extras: Vec<Client>,
    pub(crate) played: BTreeSet<String>,
    pub(crate) equal: usize,
    pub(crate) differences: Vec<String>,
}

impl Player {
    pub(crate) fn new(folder: &'static str, instances: Instances) -> Self {
        Self {
            folder,
            instances,
            known: HashMap::new(),
            running: HashMap::new(),
            extras: Vec::new(),
            played: BTreeSet::new(),
            equal: 0,
            differences: Vec::new(),
        }
    }

    fn dify(&self, port: u64) -> &Dify {
        &self.instances[&port]
    }

    /// The instance that stands for the recorded one.
    fn of(&self, recording: &Recording) -> &Dify {
        let port = match recording.name.as_str() {
            name if name.starts_with("limit2-") => TWO_RUNS,
            name if name.starts_with("worker-one-") => ONE_PLACE,
            _ => recording.port,
        };
        self.dify(port)
    }

    /// Plays one line; what lines there are stands at the top of the orders.
    pub(crate) async fn play(&mut self, line: &str) {
        let mut words = line.splitn(2, ' ');
        let (word, rest) = (words.next().unwrap(), words.next().unwrap_or_default());
        match word {
            "&" => {
                let (name, chunks) = rest.split_once(' ').unwrap();
                let (recording, mut client) = self.send(name).await;
                match chunks.parse().unwrap() {
                    0 => self.of(&recording).wait_for_open(1).await,
                    chunks => client.read_chunks(chunks).await,
                }
                let early = String::from_utf8_lossy(&client.body).into_owned();
                self.learn(&recording.body, &early);
                self.running.insert(name.to_owned(), (recording, client));
            }
            "&&" => {
                let sent = self.send(rest).await;
                self.running.insert(rest.to_owned(), sent);
            }
            "+" => {
                let mut words = rest.split(' ');
                let (count, name) = (words.next().unwrap(), words.next().unwrap());
                let chunks = words.next().unwrap().parse().unwrap();
                for _ in 0..count.parse().unwrap() {
                    let (_, mut client) = self.send(name).await;
                    if chunks > 0 {
                        client.read_chunks(chunks).await;
                    }
                    self.extras.push(client);
                }
            }
            "-" => self.extras.clear(),
            "-!" => self.extras.drain(..).for_each(Client::reset),
            "." => {
                let (recording, client) = self.running.remove(rest).unwrap();
                self.end(recording, client).await;
            }
            "*" => sleep(Duration::from_secs_f64(rest.parse::<f64>().unwrap() * SECOND)).await,
            "?" => self.until_running(rest).await,
            "!" => self.fault(rest).await,
            "~" => self.dify(rest.parse().unwrap()).finished().await,
            ">" => self.aside(rest).await,
            "^" => self.upload(rest).await,
            "refused" => self.refused(rest).await,
            "silent" => self.silent(rest).await,
            name => {
                let (recording, client) = self.send(name).await;
                self.end(recording, client).await;
            }
        }
    }

    /// Waits until so many runs go on: `count port`.
    async fn until_running(&self, words: &str) {
        let (count, port) = words.split_once(' ').unwrap();
        let (count, dify) = (count.parse().unwrap(), self.dify(port.parse().unwrap()));
        let going = || dify.runs().iter().filter(|run| run.end == RunEnd::Running).count();
        while going() < count {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A recording of a refused connection.
    async fn refused(&mut self, name: &str) {
        let recording = recording::load(self.folder, name);
        self.played.insert(name.to_owned());
        let refused = tokio::net::TcpStream::connect(self.of(&recording).addr()).await.is_err();
        self.judge(&recording, if refused { Ok(()) } else { Err("connected".to_owned()) });
    }

    /// A recording of a request that is not answered.
    async fn silent(&mut self, name: &str) {
        let (recording, mut client) = self.send(name).await;
        self.played.insert(name.to_owned());
        let silent = client.is_silent(SILENCE).await;
        self.judge(&recording, if silent { Ok(()) } else { Err("answered".to_owned()) });
    }

    async fn send(&mut self, name: &str) -> (Recording, Client) {
        let recording = recording::load(self.folder, name);
        let mut text = recording.request.clone();
        for mark in marks(&recording.request) {
            if let Some(here) = self.known.get(mark) {
                text = text.replace(mark, here);
            }
        }
        let bytes = bodies::request(&recording, &text);
        let client = Client::send(self.of(&recording).addr(), &bytes).await;
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
        // Looked at before all else: an idle connection is closed soon.
        let after = compare::after(&recording, &mut client).await;
        let port = self.of(&recording).addr().port();
        let body = String::from_utf8_lossy(&client.body)
            .replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", recording.port));
        self.learn(&recording.body, &body);
        let played = Played { method: &method, body: &body, after };
        let result = compare::compare(&recording, &mut client, &played).await;
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
            "worker_killed" => Fault::WorkerKilled,
            "worker_absent" => Fault::WorkerAbsent,
            "polite" => return dify.stop_politely().await,
            other => panic!("{other}"),
        };
        dify.set_fault(fault).await.unwrap();
    }

    /// A request that was not recorded, but made: `[port] METHOD path key body [=> field=id …]`,
    /// where the fields of its answer, with dots between them, become the ids of the recordings.
    async fn aside(&mut self, line: &str) {
        let (request, learned) = line.split_once(" => ").unwrap_or((line, ""));
        let first = request.split(' ').next().unwrap();
        let (port, request) = match first.parse::<u64>() {
            Ok(port) => (port, &request[first.len() + 1..]),
            Err(_) => (if self.instances.contains_key(&5001) { 5001 } else { 5631 }, request),
        };
        let mut parts = request.splitn(4, ' ');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (method, mut path, key, mut text) = (part(), part(), part(), part());
        for (theirs, ours) in &self.known {
            path = path.replace(theirs.as_str(), ours);
            text = text.replace(theirs.as_str(), ours);
        }
        let bytes = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        self.made(port, line, bytes.as_bytes(), learned).await;
    }

    /// An upload that was not recorded: `port key user name type => field=id`.
    async fn upload(&mut self, line: &str) {
        let (request, learned) = line.split_once(" => ").unwrap();
        let words: Vec<&str> = request.split(' ').collect();
        let [port, key, user, name, kind] = words.try_into().unwrap();
        let mut body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\n{user}\r\n--b\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: {kind}\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bodies::PICTURE);
        body.extend_from_slice(b"\r\n--b--\r\n");
        let mut bytes = format!(
            "POST /v1/files/upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&body);
        self.made(port.parse().unwrap(), line, &bytes, learned).await;
    }

    async fn made(&mut self, port: u64, line: &str, bytes: &[u8], learned: &str) {
        let mut client = Client::send(self.dify(port).addr(), bytes).await;
        client.read_all("POST").await;
        assert!(client.head.starts_with("HTTP/1.1 20"), "{line}: {}", client.head);
        let answer: serde_json::Value = serde_json::from_slice(&client.body).unwrap_or_default();
        for pair in learned.split_whitespace() {
            let (field, id) = pair.split_once('=').unwrap();
            let found = answer.pointer(&format!("/{}", field.replace('.', "/")));
            let ours = found.unwrap().as_str().unwrap().to_owned();
            self.known.insert(id.to_owned(), ours);
        }
    }
}
