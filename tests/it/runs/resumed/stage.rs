//! API processes die in the middle of streamed flows, whose runs go on in the worker.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dify_sim::{App, Dify, Fault, Flow, Mode, Pace, Release};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rig::{Plan, Rig, open, post, send};

/// One Dify whose `shop` is a chatflow and whose `flow` is a workflow, each with a model.
pub(super) fn plan(release: Release) -> Plan {
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

pub(super) fn turn(user: &str, query: &str) -> Request<Bytes> {
    let body = json!({ "inputs": {}, "query": query, "response_mode": "streaming", "user": user });
    post("/v1/chat-messages", &body)
}

pub(super) fn run(user: &str, text: &str) -> Request<Bytes> {
    let body = json!({ "inputs": { "text": text }, "response_mode": "streaming", "user": user });
    let mut request = post("/v1/workflows/run", &body);
    request.headers_mut().insert("authorization", "Bearer usertoken--flow".parse().unwrap());
    request
}

/// A stream whose first events were read.
pub(super) struct Begun {
    pub(super) body: hyper::body::Incoming,
    pub(super) text: String,
}

impl Begun {
    /// Reads until this is part of it so many times.
    pub(super) async fn until(
        rig: &Rig,
        request: Request<Bytes>,
        (part, times): (&str, usize),
    ) -> Self {
        let body = open(rig.addr(), request).await.unwrap().into_body();
        let mut begun = Self { body, text: String::new() };
        while begun.text.matches(part).count() < times && begun.next().await {}
        begun
    }

    pub(super) async fn next(&mut self) -> bool {
        let Some(frame) = self.body.frame().await else { return false };
        self.text.push_str(str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        true
    }

    pub(super) async fn rest(mut self) -> String {
        let all = async { while self.next().await {} };
        timeout(Duration::from_secs(60), all).await.unwrap();
        self.text
    }
}

pub(super) async fn kill(dify: &Dify) {
    dify.set_fault(Fault::Killed).await.unwrap();
}

pub(super) async fn start(dify: &Dify) {
    dify.set_fault(Fault::None).await.unwrap();
}

/// What a client of a stream makes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) text: String,
    /// Of each node how often it began and ended.
    pub(super) nodes: Vec<(String, String)>,
    pub(super) ends: Vec<String>,
}

pub(super) fn events(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.map(|json| serde_json::from_str(json).unwrap()).collect()
}

pub(super) fn told(stream: &str) -> Told {
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
pub(super) async fn resumed(rig: &Rig, result: &str) -> u64 {
    let metrics = Request::get("/metrics").body("").unwrap();
    let metrics = send(rig.gateway.admin(), metrics).await.text();
    let lines = metrics.lines().filter(|line| line.starts_with("difygate_runs_resumed_total{"));
    let label = format!("result=\"{result}\"");
    let ours = lines.filter(|line| line.contains(&label) && line.contains("instance=\"dify1\""));
    ours.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Nothing is under way, no slot and no place of a run is taken.
pub(super) async fn settles(rig: &Rig) {
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

/// The rig's only Dify is from now on at this address.
pub(super) async fn lead_to(rig: &Rig, addr: SocketAddr) {
    let text = std::fs::read_to_string(&rig.config_path).unwrap();
    let line = |line: &str| match line.split_once("url: \"") {
        Some((before, after)) => {
            let (_, after) = after.split_once('"').unwrap();
            format!("{before}url: \"http://{addr}\"{after}\n")
        }
        None => format!("{line}\n"),
    };
    let text: String = text.lines().map(line).collect();
    std::fs::write(&rig.config_path, text).unwrap();
    let reload = Request::post("/reload-config").body("").unwrap();
    assert_eq!(send(rig.gateway.admin(), reload).await.status, 200);
}
