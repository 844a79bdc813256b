//! A Docker engine as a source.

use std::time::Duration;

use difygate::discovery::{
    DockerSettings, DockerSource, EngineAddress, EngineError, Selection, SourceError, SourceHandle,
    SourceState, spawn,
};
use serde_json::{Value, json};

use super::engine::{Engine, socket_proxy};
use super::{short, until};

fn labels(service: &str, number: u32) -> Value {
    json!({
        "com.docker.compose.project": "dify",
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": number.to_string(),
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": "5f0c"
    })
}

/// A container as it is listed: api number `number`, at 172.18.0.`last`.
fn api(number: u32, last: u32) -> Value {
    json!({
        "Id": id(number),
        "Names": [format!("/dify-api-{number}")],
        "Image": "langgenius/dify-api:1.5.0",
        "Command": "/bin/bash /entrypoint.sh",
        "Created": 1_764_500_000 + u64::from(last),
        "Ports": [{ "PrivatePort": 5001, "Type": "tcp" }],
        "Labels": labels("api", number),
        "State": "running",
        "Status": "Up Less than a second",
        "HostConfig": { "NetworkMode": "dify_default" },
        "NetworkSettings": { "Networks": { "dify_default": {
            "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": "7d8e",
            "IPAddress": format!("172.18.0.{last}"), "IPPrefixLen": 16, "GlobalIPv6Address": ""
        } } },
        "Mounts": []
    })
}

fn id(number: u32) -> String {
    format!("{number:064x}")
}

fn event(number: u32, action: &str, signal: Option<u32>) -> Value {
    let mut attributes = labels("api", number);
    attributes["name"] = format!("dify-api-{number}").into();
    if let Some(signal) = signal {
        attributes["signal"] = signal.to_string().into();
    }
    json!({
        "status": action, "id": id(number), "from": "langgenius/dify-api:1.5.0",
        "Type": "container", "Action": action, "Actor": { "ID": id(number), "Attributes": attributes },
        "scope": "local", "time": 1_764_500_000, "timeNano": 1_764_500_000_000_000_000_u64
    })
}

fn settings(engine: EngineAddress) -> DockerSettings {
    let (project, service) = ("dify".to_owned(), "api".to_owned());
    let mut settings = DockerSettings::new("api", Selection::Compose { project, service });
    settings.engine = engine;
    settings
}

fn follow(engine: &Engine) -> SourceHandle {
    spawn(DockerSource::new(settings(engine.address())))
}

fn is_good(state: &SourceState) -> bool {
    state.set.is_some() && !state.failing
}

/// How it failed; it may work again by now.
async fn failure(source: &SourceHandle) -> EngineError {
    match until(source, |state| state.last_error.is_some()).await.last_error.unwrap().error {
        SourceError::Engine(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_service_is_followed_by_its_events() {
    let engine = Engine::start(vec![api(1, 2)]);
    let source = follow(&engine);
    let state = until(&source, is_good).await;
    assert_eq!(short(&state), ["api#1 172.18.0.2:5001 1 0 ready"]);
    assert_eq!(source.description(), "docker dify/api");
    // Two more: one list for both.
    engine.set(|play| play.containers = vec![api(1, 2), api(2, 3), api(3, 4)]);
    engine.tell_raw(&format!("{}\n{}\n", event(2, "start", None), event(3, "start", None)));
    until(&source, |state| short(state).len() == 3).await;
    assert_eq!(engine.lists(), 2);
    // A stop: the signal drains at once, the end of the process removes. Nothing is asked for.
    engine.tell(&event(2, "kill", Some(15)));
    let state = until(&source, |state| short(state)[1].ends_with("draining")).await;
    assert_eq!(state.set.unwrap().endpoints[1].why.as_deref(), Some("it was told to stop"));
    engine.tell(&event(2, "die", None));
    let state = until(&source, |state| short(state).len() == 2).await;
    assert_eq!(
        short(&state),
        ["api#1 172.18.0.2:5001 1 0 ready", "api#3 172.18.0.4:5001 1 0 ready"]
    );
    engine.tell(&event(3, "health_status: unhealthy", None));
    until(&source, |state| short(state)[1].ends_with("draining")).await;
    engine.tell(&event(3, "health_status: healthy", None));
    until(&source, |state| short(state)[1].ends_with("ready")).await;
    assert_eq!(engine.lists(), 2);
    assert_eq!(
        engine.log(),
        [
            "GET /version",
            "GET /v1.41/events",
            "GET /v1.41/containers/json",
            "GET /v1.41/containers/json"
        ]
    );
}

#[tokio::test]
async fn replicas_that_are_made_anew_keep_their_names_whatever_their_addresses() {
    let engine = Engine::start(vec![api(1, 2), api(3, 4)]);
    let source = follow(&engine);
    until(&source, is_good).await;
    for number in [1, 3] {
        engine.tell(&event(number, "kill", Some(15)));
        engine.tell(&event(number, "die", None));
    }
    let state = until(&source, |state| short(state).is_empty()).await;
    assert!(is_good(&state), "that nothing runs is an answer");
    // They come back with each other's address.
    let anew = |number, last| {
        let mut container = api(number, last);
        container["Id"] = id(number + 10).into();
        container
    };
    engine.set(|play| play.containers = vec![anew(1, 4), anew(3, 2)]);
    let mut start = event(1, "start", None);
    start["Actor"]["ID"] = id(11).into();
    engine.tell(&start);
    let state = until(&source, |state| short(state).len() == 2).await;
    assert_eq!(
        short(&state),
        ["api#1 172.18.0.4:5001 1 0 ready", "api#3 172.18.0.2:5001 1 0 ready"]
    );
}

#[tokio::test]
async fn what_no_event_told_is_found_by_the_next_full_list() {
    let engine = Engine::start(vec![api(1, 2)]);
    let mut settings = settings(engine.address());
    settings.timing.list_every = Duration::from_millis(100);
    let source = spawn(DockerSource::new(settings));
    until(&source, is_good).await;
    engine.set(|play| play.containers = vec![api(1, 2), api(2, 3)]);
    until(&source, |state| short(state).len() == 2).await;
}

#[tokio::test]
async fn a_refresh_asks_for_a_list_at_once() {
    let engine = Engine::start(vec![api(1, 2)]);
    let source = follow(&engine);
    until(&source, is_good).await;
    engine.set(|play| play.containers = Vec::new());
    source.refresh();
    let state = until(&source, |state| short(state).is_empty()).await;
    assert!(state.set.unwrap().notes[0].contains("com.docker.compose.service=api"));
}

#[tokio::test]
async fn while_the_engine_is_gone_the_last_set_holds() {
    let mut engine = Engine::start(vec![api(1, 2)]);
    let source = follow(&engine);
    let good = until(&source, is_good).await;
    engine.stop();
    let is_missing = |state: &SourceState| {
        let last = state.last_error.as_ref();
        last.is_some_and(|last| {
            matches!(last.error, SourceError::Engine(EngineError::Missing { .. }))
        })
    };
    let gone = until(&source, is_missing).await;
    assert!(gone.failing);
    assert_eq!(gone.set, good.set);
    engine.set(|play| play.containers = vec![api(1, 2), api(2, 3)]);
    engine.start_again();
    let again = until(&source, is_good).await;
    assert_eq!(short(&again).len(), 2);
    // Its events are followed again.
    engine.tell(&event(1, "die", None));
    until(&source, |state| short(state).len() == 1).await;
}

#[tokio::test]
async fn what_was_draining_when_the_engine_went_is_not_draining_for_ever() {
    let mut engine = Engine::start(vec![api(1, 2)]);
    let source = follow(&engine);
    until(&source, is_good).await;
    engine.tell(&event(1, "kill", Some(15)));
    until(&source, |state| short(state)[0].ends_with("draining")).await;
    engine.stop();
    until(&source, |state| state.failing).await;
    engine.start_again();
    let again = until(&source, is_good).await;
    assert_eq!(short(&again), ["api#1 172.18.0.2:5001 1 0 ready"]);
}

#[tokio::test]
async fn a_hung_engine_is_said_to_be_one() {
    let engine = Engine::start(vec![api(1, 2)]);
    let mut settings = settings(engine.address());
    settings.timing.answer = Duration::from_millis(200);
    let source = spawn(DockerSource::new(settings));
    let good = until(&source, is_good).await;
    engine.set(|play| play.is_hung = true);
    source.refresh();
    let error = failure(&source).await;
    assert!(matches!(error, EngineError::Timeout { .. }), "{error}");
    assert_eq!(source.state().set, good.set);
    engine.set(|play| play.is_hung = false);
    until(&source, is_good).await;
}

#[tokio::test]
async fn the_version_of_the_api_is_agreed_on() {
    for (api_range, path) in [
        (("1.41", "1.12"), "/v1.41/"),
        (("1.44", "1.24"), "/v1.44/"),
        (("1.60", "1.44"), "/v1.53/"),
        (("1.60", "1.55"), "/v1.55/"),
    ] {
        let engine = Engine::start(vec![api(1, 2)]);
        engine.set(|play| play.api = api_range);
        let source = follow(&engine);
        until(&source, is_good).await;
        assert!(engine.log()[1].contains(path), "{:?}", engine.log());
    }
    let engine = Engine::start(Vec::new());
    engine.set(|play| play.api = ("1.40", "1.12"));
    let error = failure(&follow(&engine)).await;
    assert!(matches!(&error, EngineError::TooOld { version, .. } if version == "1.40"), "{error}");
}

#[tokio::test]
async fn it_runs_through_a_socket_proxy_that_allows_three_paths() {
    let engine = Engine::start(vec![api(1, 2)]);
    let proxy = socket_proxy(&engine, &["/version", "/containers/json", "/events"]).await;
    let source = spawn(DockerSource::new(settings(format!("tcp://{proxy}").parse().unwrap())));
    until(&source, is_good).await;
    engine.tell(&event(1, "kill", Some(15)));
    until(&source, |state| short(state)[0].ends_with("draining")).await;
    // One that allows less is named with what it refused.
    let proxy = socket_proxy(&engine, &["/version", "/containers/json"]).await;
    let source = spawn(DockerSource::new(settings(format!("tcp://{proxy}").parse().unwrap())));
    let error = failure(&source).await.to_string();
    let expected = "answered 403 to GET /v1.41/events: Forbidden";
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn events_may_come_in_pieces_and_what_is_none_begins_a_new_connection() {
    let engine = Engine::start(vec![api(1, 2), api(2, 3)]);
    let source = follow(&engine);
    until(&source, is_good).await;
    let line = format!("{}\n", event(1, "die", None));
    for piece in [&line[..7], &line[7..200], "", &line[200..]] {
        if !piece.is_empty() {
            engine.tell_raw(piece);
        }
    }
    until(&source, |state| short(state).len() == 1).await;
    engine.tell_raw("\n{\"Type\": 7}\n");
    let error = failure(&source).await;
    assert!(matches!(error, EngineError::Malformed { .. }), "{error}");
    let state = until(&source, is_good).await;
    assert_eq!(short(&state).len(), 2, "a new list");
}
