use serde_json::{Value, json};

use super::Effect;
use crate::discovery::docker::containers::Containers;
use crate::discovery::docker::settings::{DockerSettings, Selection};
use crate::discovery::docker::wire::{Container, Event};
use crate::discovery::{Endpoint, EndpointState};

const LABELS: [(&str, &str); 3] = [
    ("com.docker.compose.project", "dify"),
    ("com.docker.compose.service", "api"),
    ("com.docker.compose.container-number", "1"),
];

fn settings() -> DockerSettings {
    let (project, service) = ("dify".to_owned(), "api".to_owned());
    let mut settings = DockerSettings::new("api", Selection::Compose { project, service });
    settings.port = Some(5001);
    settings
}

fn labels() -> Value {
    LABELS.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
}

fn container() -> Container {
    serde_json::from_value(json!({
        "Id": "one", "Names": ["/dify-api-1"], "Labels": labels(), "State": "running",
        "Status": "Up 1 second (health: starting)",
        "NetworkSettings": { "Networks": {
            "dify_default": { "IPAddress": "172.18.0.2" },
            "dify_ssrf_proxy_network": { "IPAddress": "172.19.0.2" }
        } }
    }))
    .unwrap()
}

fn running() -> Containers {
    let mut containers = Containers::default();
    containers.replace(vec![container()]);
    containers
}

/// An event about a container, with labels among its attributes, as the engine sends it.
fn event(id: &str, action: &str, more: &[(&str, &str)]) -> Event {
    let mut attributes = labels();
    attributes["image"] = "langgenius/dify-api:1.5.0".into();
    for (key, value) in more {
        attributes[key] = (*value).into();
    }
    serde_json::from_value(json!({
        "status": action, "id": id, "from": "langgenius/dify-api:1.5.0",
        "Type": "container", "Action": action, "scope": "local", "time": 1_764_500_000,
        "Actor": { "ID": id, "Attributes": attributes }
    }))
    .unwrap()
}

fn network(action: &str, network: &str) -> Event {
    serde_json::from_value(json!({
        "Type": "network", "Action": action, "scope": "local",
        "Actor": { "ID": "n", "Attributes": { "container": "one", "name": network, "type": "bridge" } }
    }))
    .unwrap()
}

fn apply(containers: &mut Containers, event: &Event) -> Effect {
    containers.apply(event, &settings().selection)
}

fn endpoints(containers: &Containers) -> Vec<Endpoint> {
    containers.set(&settings()).endpoints
}

#[test]
fn the_signal_to_end_drains_and_no_list_takes_that_back() {
    for signal in ["15", "3", "2"] {
        let mut containers = running();
        let healthy = event("one", "health_status: healthy", &[]);
        assert_eq!(apply(&mut containers, &healthy), Effect::Changed);
        assert_eq!(endpoints(&containers)[0].state, EndpointState::Ready);
        assert_eq!(
            apply(&mut containers, &event("one", "kill", &[("signal", signal)])),
            Effect::Changed
        );
        assert_eq!(endpoints(&containers)[0].state, EndpointState::Draining);
        containers.replace(vec![container()]);
        assert_eq!(endpoints(&containers)[0].state, EndpointState::Draining);
    }
}

#[test]
fn other_signals_change_nothing() {
    let mut containers = running();
    for signal in ["1", "9", "10", "28"] {
        let effect = apply(&mut containers, &event("one", "kill", &[("signal", signal)]));
        assert_eq!(effect, Effect::Nothing, "signal {signal}");
    }
}

#[test]
fn one_that_ended_stays_out_of_a_list_that_is_older_until_it_starts_again() {
    let mut containers = running();
    assert_eq!(apply(&mut containers, &event("one", "kill", &[("signal", "15")])), Effect::Changed);
    assert_eq!(apply(&mut containers, &event("one", "die", &[("exitCode", "0")])), Effect::Changed);
    assert!(endpoints(&containers).is_empty());
    assert_eq!(apply(&mut containers, &network("disconnect", "dify_default")), Effect::Nothing);
    assert_eq!(apply(&mut containers, &event("one", "stop", &[])), Effect::Nothing);
    containers.replace(vec![container()]);
    assert!(endpoints(&containers).is_empty());
    assert_eq!(apply(&mut containers, &event("one", "start", &[])), Effect::List);
    containers.replace(vec![container()]);
    assert_eq!(endpoints(&containers)[0].state, EndpointState::Starting);
}

#[test]
fn health_is_known_without_asking() {
    let mut containers = running();
    for (status, state) in [
        ("healthy", EndpointState::Ready),
        ("unhealthy", EndpointState::Draining),
        ("healthy", EndpointState::Ready),
    ] {
        let action = format!("health_status: {status}");
        assert_eq!(apply(&mut containers, &event("one", &action, &[])), Effect::Changed);
        assert_eq!(endpoints(&containers)[0].state, state);
    }
    let check = event("one", "exec_start: curl -f http://localhost:5001/health", &[]);
    assert_eq!(apply(&mut containers, &check), Effect::Nothing);
}

#[test]
fn a_paused_one_is_out_until_a_list_shows_it_running() {
    let mut containers = running();
    assert_eq!(apply(&mut containers, &event("one", "pause", &[])), Effect::Changed);
    assert!(endpoints(&containers).is_empty());
    assert_eq!(apply(&mut containers, &event("one", "unpause", &[])), Effect::List);
}

#[test]
fn a_network_that_is_left_is_used_no_longer() {
    let mut containers = running();
    assert_eq!(apply(&mut containers, &network("disconnect", "dify_default")), Effect::Changed);
    assert_eq!(endpoints(&containers)[0].address.to_string(), "172.19.0.2:5001");
    let left = network("disconnect", "dify_ssrf_proxy_network");
    assert_eq!(apply(&mut containers, &left), Effect::Changed);
    assert!(endpoints(&containers).is_empty());
    assert_eq!(apply(&mut containers, &network("connect", "dify_default")), Effect::List);
}

#[test]
fn containers_of_others_are_nobodys_business() {
    let mut containers = running();
    let other = [("com.docker.compose.service", "worker")];
    for action in ["start", "kill", "die", "pause", "rename", "health_status: healthy"] {
        assert_eq!(
            apply(&mut containers, &event("two", action, &other)),
            Effect::Nothing,
            "{action}"
        );
    }
    assert_eq!(apply(&mut containers, &event("two", "start", &[])), Effect::List);
}
