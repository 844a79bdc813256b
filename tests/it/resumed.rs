//! API processes die in the middle of streamed flows, whose runs go on in the worker.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use dify_sim::{App, Dify, Fault, Flow, Mode, Pace, Release};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::rig::{Plan, Rig, has_event, open, post, requests, send};

const KILLS: usize = 50;

/// One Dify whose `shop` is a chatflow and whose `flow` is a workflow, each with a model.
fn plan(release: Release) -> Plan {
    Plan::new(1).without_probes().with_difys(move |mut setup| {
        for known in &mut setup.apps {
            let mode = match known.key.starts_with("app-shop-") {
                true => Mode::AdvancedChat,
                false => Mode::Workflow,
            };
            *known = App::new(mode, known.key.clone()).with_flow(Flow::Llm);
        }
        let (second, linger) = (Duration::from_millis(20), Duration::from_millis(50));
        let pace = Pace { second, linger, ..Pace::default() };
        setup.with_release(release).with_pace(pace).with_workers(8)
    })
}

fn turn(user: &str, query: &str) -> Request<Bytes> {
    let body = json!({ "inputs": {}, "query": query, "response_mode": "streaming", "user": user });
    post("/v1/chat-messages", &body)
}

fn run(user: &str, text: &str) -> Request<Bytes> {
    let body = json!({ "inputs": { "text": text }, "response_mode": "streaming", "user": user });
    let mut request = post("/v1/workflows/run", &body);
    request.headers_mut().insert("authorization", "Bearer usertoken--flow".parse().unwrap());
    request
}

/// A stream whose first events were read.
struct Begun {
    body: hyper::body::Incoming,
    text: String,
}

impl Begun {
    /// Reads until this is part of it so many times.
    async fn until(rig: &Rig, request: Request<Bytes>, (part, times): (&str, usize)) -> Self {
        let body = open(rig.addr(), request).await.unwrap().into_body();
        let mut begun = Self { body, text: String::new() };
        while begun.text.matches(part).count() < times && begun.next().await {}
        begun
    }

    async fn next(&mut self) -> bool {
        let Some(frame) = self.body.frame().await else { return false };
        self.text.push_str(str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        true
    }

    async fn rest(mut self) -> String {
        let all = async { while self.next().await {} };
        timeout(Duration::from_secs(60), all).await.unwrap();
        self.text
    }
}

async fn kill(dify: &Dify) {
    dify.set_fault(Fault::Killed).await.unwrap();
}

async fn start(dify: &Dify) {
    dify.set_fault(Fault::None).await.unwrap();
}

/// What a client of a stream makes of it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    text: String,
    /// Of each node how often it began and ended.
    nodes: Vec<(String, String)>,
    ends: Vec<String>,
}

fn events(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.map(|json| serde_json::from_str(json).unwrap()).collect()
}

fn told(stream: &str) -> Told {
    let (mut text, mut nodes, mut ends) = (String::new(), Vec::new(), Vec::new());
    let events = events(stream);
    for event in &events {
        let name = event["event"].as_str().unwrap();
        match name {
            "message" => text.push_str(event["answer"].as_str().unwrap()),
            "text_chunk" => text.push_str(event["data"]["text"].as_str().unwrap()),
            "node_started" | "node_finished" => {
                nodes.push((event["data"]["node_id"].as_str().unwrap().into(), name.to_owned()));
            }
            "workflow_started" | "message_end" | "workflow_finished" => ends.push(name.to_owned()),
            _ => panic!("{event}"),
        }
    }
    nodes.sort_unstable();
    for key in ["task_id", "conversation_id", "message_id", "workflow_run_id"] {
        let ids: BTreeSet<_> = events.iter().filter_map(|event| event[key].as_str()).collect();
        assert!(ids.len() <= 1, "{key}: {ids:?}");
    }
    Told { text, nodes, ends }
}

/// The counter of `result`, of `shop` and `flow` together.
async fn resumed(rig: &Rig, result: &str) -> u64 {
    let metrics = Request::get("/metrics").body("").unwrap();
    let metrics = send(rig.gateway.admin(), metrics).await.text();
    let lines = metrics.lines().filter(|line| line.starts_with("difygate_runs_resumed_total{"));
    let label = format!("result=\"{result}\"");
    let ours = lines.filter(|line| line.contains(&label) && line.contains("instance=\"dify1\""));
    ours.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Nothing is under way, no slot and no place of a run is taken.
async fn settles(rig: &Rig) {
    let settled = async {
        loop {
            let status = rig.status().await;
            let instance = &status["applications"]["shop"]["instances"]["dify1"];
            if status["stats"]["in_flight"] == 0 && instance["connections"] == 0 {
                assert_eq!(instance["in_flight"], 0, "{status}");
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), settled).await.unwrap();
}

#[tokio::test]
async fn in_fifty_kills_nothing_is_said_twice_and_nothing_is_missing() {
    let rig = plan(Release::Main).start().await;
    let dify = &rig.difys[0];
    let query = "a \"long\" Grüße\ntokens 30 0.25";
    let chat = told(&Begun::until(&rig, turn("alice", query), ("", 0)).await.rest().await);
    let flow = told(&Begun::until(&rig, run("alice", query), ("", 0)).await.rest().await);
    assert!(chat.text.len() > 100 && flow.text.len() > 100, "{chat:?} {flow:?}");
    for number in 0..KILLS {
        // From the run's first event to its last.
        let (part, times) = ("\n\n", 2 + number % 42);
        let chatting = Begun::until(&rig, turn("alice", query), (part, times)).await;
        let flowing = Begun::until(&rig, run("bob", query), (part, 2)).await;
        kill(dify).await;
        // Some runs end while nobody passes them on.
        sleep(Duration::from_millis(20 * (number as u64 % 12))).await;
        start(dify).await;
        let (chatting, flowing) = tokio::join!(chatting.rest(), flowing.rest());
        for (stream, whole) in [(chatting, &chat), (flowing, &flow)] {
            let told = told(&stream);
            let said = (&told.text, &told.ends);
            assert_eq!(said, (&whole.text, &whole.ends), "kill {number}\n{stream}");
            // Of a run that ended while nobody passed it on, Dify tells no more than its end.
            let once: BTreeSet<_> = told.nodes.iter().collect();
            assert_eq!(once.len(), told.nodes.len(), "kill {number}\n{stream}");
            assert!(once.iter().all(|node| whole.nodes.contains(node)), "{stream}");
        }
    }
    let (continued, failed) = (resumed(&rig, "continued").await, resumed(&rig, "failed").await);
    assert!(continued > KILLS as u64 && failed == 0, "{continued} {failed}");
    settles(&rig).await;
}

#[tokio::test]
async fn a_run_is_taken_up_as_often_as_its_process_dies_and_the_log_says_so() {
    let rig = plan(Release::V1_14).start().await;
    let beside = rig.beside().await;
    let query = "tokens 60 1";
    let whole = told(&Begun::until(&rig, turn("alice", query), ("", 0)).await.rest().await);
    let body = open(beside.addr(), turn("bob", query)).await.unwrap().into_body();
    let mut begun = Begun { body, text: String::new() };
    while !begun.text.contains("\"message\"") {
        assert!(begun.next().await);
    }
    for _ in 0..3 {
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let asked = rig.difys[0].served_count() + 1;
        timeout(Duration::from_secs(20), rig.difys[0].wait_for_served(asked)).await.unwrap();
    }
    let stream = begun.rest().await;
    assert_eq!(told(&stream), whole, "{stream}");
    let logged = beside.logged().await;
    assert_eq!(logged.len(), 1, "{logged:?}");
    let (line, detail) = (&logged[0], logged[0]["detail"].as_str().unwrap());
    assert!(detail.starts_with("resumed after ") && detail.contains("dify1: answer cut"), "{line}");
    assert_eq!((&line["reason"], &line["status"]), (&json!("answered"), &json!(200)), "{line}");
    assert_eq!(line["total_tokens"], events(&stream).last().unwrap()["data"]["total_tokens"]);
}

#[tokio::test]
async fn a_run_that_ended_while_nobody_could_tell_it_is_told_whole() {
    let rig = plan(Release::Main).start().await;
    for (request, mode) in
        [(turn("alice", "tokens 20 1"), "chat"), (run("bob", "tokens 20 1"), "flow")]
    {
        let whole = told(&Begun::until(&rig, request.clone(), ("", 0)).await.rest().await);
        let begun = Begun::until(&rig, request, ("\n\n", 9)).await;
        kill(&rig.difys[0]).await;
        let ran = |ran: &dify_sim::Ran| ran.end == dify_sim::RunEnd::Running;
        while rig.difys[0].runs().iter().any(ran) {
            sleep(Duration::from_millis(20)).await;
        }
        start(&rig.difys[0]).await;
        let stream = begun.rest().await;
        let told = told(&stream);
        assert_eq!((&told.text, &told.ends), (&whole.text, &whole.ends), "{mode} {stream}");
    }
    assert_eq!(resumed(&rig, "continued").await, 2);
}

#[tokio::test]
async fn a_run_is_not_taken_up_where_that_is_off_or_unknown_to_dify() {
    for (release, settings) in [
        (Release::Main, "retry: { resume: false }"),
        (Release::V1_13, "retry: { resume: true }"),
        (Release::V1_12, ""),
    ] {
        let rig = plan(release).with(settings).start().await;
        let begun = Begun::until(&rig, turn("alice", "tokens 400 1"), ("\"message\"", 3)).await;
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let stream = begun.rest().await;
        assert!(has_event(&stream, "error") && stream.contains("broke off"), "{release} {stream}");
        let asked = requests(&rig.difys[0]);
        assert!(asked.iter().all(|served| !served.path.contains("/events?")), "{release}");
        assert_eq!(resumed(&rig, "failed").await, 0);
    }
}

#[tokio::test]
async fn a_dify_that_does_not_know_the_run_is_asked_once() {
    for status in [404, 410, 400, 401] {
        let rig = plan(Release::Main).start().await;
        let begun = Begun::until(&rig, turn("alice", "tokens 400 1"), ("\"message\"", 3)).await;
        kill(&rig.difys[0]).await;
        rig.difys[0].set_fault(Fault::Status(status)).await.unwrap();
        let stream = begun.rest().await;
        assert_eq!(events(&stream).last().unwrap()["event"], "error", "{status} {stream}");
        let asked = requests(&rig.difys[0]);
        let asked = asked.iter().filter(|served| served.path.contains("/events?")).count();
        assert_eq!((asked, resumed(&rig, "failed").await), (1, 1), "{status}");
        settles(&rig).await;
    }
}

#[tokio::test]
async fn a_proxy_whose_dify_is_away_is_asked_again() {
    let rig = plan(Release::Main).start().await;
    let query = "tokens 60 1";
    let whole = told(&Begun::until(&rig, turn("alice", query), ("", 0)).await.rest().await);
    let begun = Begun::until(&rig, turn("alice", query), ("\"message\"", 3)).await;
    kill(&rig.difys[0]).await;
    rig.difys[0].set_fault(Fault::Status(502)).await.unwrap();
    let before = rig.difys[0].served_count();
    timeout(Duration::from_secs(20), rig.difys[0].wait_for_served(before + 2)).await.unwrap();
    start(&rig.difys[0]).await;
    let stream = begun.rest().await;
    assert_eq!(told(&stream), whole, "{stream}");
}

#[tokio::test]
async fn a_client_that_leaves_meanwhile_has_its_run_stopped() {
    let rig = plan(Release::Main).start().await;
    let begun = Begun::until(&rig, turn("alice", "tokens 4000 1"), ("\"message\"", 3)).await;
    kill(&rig.difys[0]).await;
    sleep(Duration::from_millis(100)).await;
    drop(begun);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.status().await["stats"]["in_flight"], 1, "it waits for its instance");
    start(&rig.difys[0]).await;
    let stopped = rig.difys[0].wait_for_run(|ran| ran.end == dify_sim::RunEnd::Stopped);
    timeout(Duration::from_secs(20), stopped).await.unwrap();
    settles(&rig).await;
    let status = rig.status().await;
    assert_eq!(status["stats"]["by_reason"]["client_gone"], 1, "{status}");
    assert_eq!(status["applications"]["shop"]["stopped"], 1, "{status}");
}

/// The text of a stream of chat completions, and how it ended.
fn completion(stream: &str) -> (String, Vec<Value>) {
    let (mut text, mut ends) = (String::new(), Vec::new());
    for json in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let Ok(chunk) = serde_json::from_str::<Value>(json) else { continue };
        let choice = &chunk["choices"][0];
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        ends.extend([&chunk["error"], &choice["finish_reason"]].into_iter().cloned());
    }
    ends.retain(|end| !end.is_null());
    (text, ends)
}

fn question(stream: bool) -> Request<Bytes> {
    let messages = json!([{ "role": "user", "content": "tokens 40 1" }]);
    let body = json!({ "model": "shop", "stream": stream, "user": "alice", "messages": messages });
    post("/v1/chat/completions", &body)
}

#[tokio::test]
async fn ai_clients_get_all_of_a_run_whose_api_process_died() {
    for release in [Release::V1_14, Release::Main] {
        let rig = plan(release).start().await;
        let whole = completion(&Begun::until(&rig, question(true), ("", 0)).await.rest().await);
        assert_eq!(whole.1, [json!("stop")]);
        let begun = Begun::until(&rig, question(true), ("\"content\"", 5)).await;
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let stream = begun.rest().await;
        assert_eq!(completion(&stream), whole, "{release} {stream}");
        assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");

        let asking = tokio::spawn(send(rig.addr(), question(false)));
        let runs = async {
            while rig.difys[0].runs().len() < 3 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), runs).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        kill(&rig.difys[0]).await;
        start(&rig.difys[0]).await;
        let answer = asking.await.unwrap();
        assert_eq!(answer.json()["choices"][0]["message"]["content"], json!(whole.0), "{answer:?}");
        assert_eq!(resumed(&rig, "continued").await, 2, "{release}");
    }
}

/// Before a Dify: all passes through, but what a run's further events say.
async fn liar(dify: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 64 * 1024];
                let read = socket.read(&mut head).await.unwrap_or(0);
                head.truncate(read);
                let text = String::from_utf8_lossy(&head).into_owned();
                let Some((_, rest)) = text.split_once("/v1/workflow/") else {
                    let mut dify = TcpStream::connect(dify).await?;
                    dify.write_all(&head).await?;
                    return tokio::io::copy_bidirectional(&mut socket, &mut dify).await;
                };
                let run = rest.split('/').next().unwrap();
                let data = json!({ "id": run, "status": "succeeded", "total_tokens": 3,
                    "created_at": 1, "outputs": { "answer": "something else" } });
                let event = json!({ "event": "workflow_finished", "task_id": run,
                    "workflow_run_id": run, "data": data });
                let event = format!("data: {event}\n\n");
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{event}",
                    event.len()
                );
                socket.write_all(answer.as_bytes()).await.map(|()| (0, 0))
            });
        }
    });
    addr
}

#[tokio::test]
async fn text_that_does_not_continue_is_replaced_for_dify_s_clients_and_an_error_for_others() {
    let rig = plan(Release::Main).start().await;
    let (dify, before) = (&rig.difys[0], rig.difys[0].addr());
    let between = liar(before).await;
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let text = text.replace(&before.to_string(), &between.to_string());
    std::fs::write(&rig.config_path, text).unwrap();
    let reload = Request::post("/reload-config").body("").unwrap();
    assert_eq!(send(rig.gateway.admin(), reload).await.status, 200);

    let begun = Begun::until(&rig, turn("alice", "tokens 40 1"), ("\"message\"", 3)).await;
    kill(dify).await;
    start(dify).await;
    let stream = begun.rest().await;
    let events = events(&stream);
    let [.., replaced, end, finished] = &events[..] else { panic!("{stream}") };
    assert_eq!(
        (&replaced["event"], &replaced["answer"]),
        (&json!("message_replace"), &json!("something else"))
    );
    assert_eq!(
        (&end["event"], &finished["event"]),
        (&json!("message_end"), &json!("workflow_finished"))
    );

    let begun = Begun::until(&rig, question(true), ("\"content\"", 5)).await;
    kill(dify).await;
    start(dify).await;
    let stream = begun.rest().await;
    let (text, ends) = completion(&stream);
    assert!(!text.contains("something else"), "{stream}");
    assert!(ends.len() == 1 && ends[0]["message"].is_string(), "an error: {stream}");
    assert_eq!(resumed(&rig, "differs").await, 2);
}

#[tokio::test]
async fn a_plain_chat_that_its_api_process_does_itself_is_lost() {
    let plan = Plan::new(1).without_probes().with_difys(|setup| setup.with_release(Release::Main));
    let rig = plan.start().await;
    let begun = Begun::until(&rig, turn("alice", "tokens 400 0.05"), ("\"message\"", 3)).await;
    kill(&rig.difys[0]).await;
    start(&rig.difys[0]).await;
    let stream = begun.rest().await;
    assert_eq!(events(&stream).last().unwrap()["event"], "error", "{stream}");
    let asked = requests(&rig.difys[0]);
    assert!(asked.iter().all(|served| !served.path.contains("/events?")));
}
