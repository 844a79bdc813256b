use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;
use serde_json::{Value, json};

use super::Containers;
use crate::discovery::docker::settings::{DockerSettings, Selection};
use crate::discovery::docker::wire::{Container, Event};
use crate::discovery::{DiscoveredSet, EndpointState};

fn settings() -> DockerSettings {
    let (project, service) = ("dify".to_owned(), "api".to_owned());
    let mut settings = DockerSettings::new("api", Selection::Compose { project, service });
    settings.port = Some(5001);
    settings
}

/// A container as the engine lists it.
fn listed(number: u32) -> Value {
    json!({
        "Id": format!("{number:064x}"),
        "Names": [format!("/dify-api-{number}")],
        "Image": "langgenius/dify-api:1.5.0",
        "Created": 1_700_000_000,
        "Ports": [{ "PrivatePort": 5001, "Type": "tcp" }],
        "Labels": {
            "com.docker.compose.project": "dify",
            "com.docker.compose.service": "api",
            "com.docker.compose.container-number": number.to_string(),
            "com.docker.compose.oneoff": "False"
        },
        "State": "running",
        "Status": "Up 3 minutes",
        "NetworkSettings": { "Networks": {
            "dify_default": { "IPAddress": format!("172.18.0.{number}"), "GlobalIPv6Address": "" }
        } },
        "Mounts": null
    })
}

fn read(list: impl IntoIterator<Item = Value>) -> Containers {
    let mut containers = Containers::default();
    containers.replace(serde_json::from_value(list.into_iter().collect()).unwrap());
    containers
}

fn set(list: impl IntoIterator<Item = Value>) -> DiscoveredSet {
    read(list).set(&settings())
}

/// Its endpoints in short.
fn short(set: &DiscoveredSet) -> Vec<String> {
    let endpoints = set.endpoints.iter();
    endpoints
        .map(|e| format!("{} {} {} {}", e.name, e.address, e.weight, e.state.label()))
        .collect()
}

#[test]
fn containers_are_called_by_their_number_and_sorted_by_it() {
    let set = set([10, 2, 1].map(listed));
    assert_eq!(
        short(&set),
        [
            "api#1 172.18.0.1:5001 1 ready",
            "api#2 172.18.0.2:5001 1 ready",
            "api#10 172.18.0.10:5001 1 ready"
        ]
    );
    assert!(set.notes.is_empty());
}

#[test]
fn health_decides_who_takes_requests() {
    for (status, health, state) in [
        ("Up 1 second (health: starting)", Value::Null, EndpointState::Starting),
        ("Up 1 minute (unhealthy)", Value::Null, EndpointState::Draining),
        ("Up 1 minute (healthy)", Value::Null, EndpointState::Ready),
        ("Up 1 minute", json!({ "Status": "none", "FailingStreak": 0 }), EndpointState::Ready),
        ("Up 1 minute", json!({ "Status": "starting" }), EndpointState::Starting),
        ("Up 1 minute", json!({ "Status": "unhealthy" }), EndpointState::Draining),
    ] {
        let mut one = listed(1);
        one["Status"] = status.into();
        one["Health"] = health;
        let set = set([one]);
        assert_eq!(set.endpoints[0].state, state, "{status}");
        assert_eq!(set.endpoints[0].why.is_some(), state != EndpointState::Ready);
    }
}

#[test]
fn what_is_not_meant_is_left_out() {
    let changed = |number, change: fn(&mut Value)| {
        let mut one = listed(number);
        change(&mut one);
        one
    };
    let set = set([
        changed(1, |c| c["Labels"]["com.docker.compose.oneoff"] = "True".into()),
        changed(2, |c| c["Labels"]["difygate.enable"] = "False".into()),
        changed(3, |c| c["Labels"]["com.docker.compose.service"] = "worker".into()),
        changed(4, |c| c["State"] = "restarting".into()),
        changed(5, |c| c["State"] = "paused".into()),
        changed(6, |c| c["Labels"]["difygate.port"] = "http".into()),
        changed(7, |c| c["NetworkSettings"]["Networks"] = json!({ "host": { "IPAddress": "" } })),
    ]);
    assert!(set.endpoints.is_empty());
    let notes = set.notes.join("\n");
    for said in ["dify-api-5 is left out: it is paused", "dify-api-6", "dify-api-7"] {
        assert!(notes.contains(said), "{notes}");
    }
    assert_eq!(set.notes.len(), 3, "{notes}");
}

#[test]
fn that_nothing_was_found_is_said() {
    assert_eq!(
        set([]).notes,
        ["no container with com.docker.compose.project=dify and \
          com.docker.compose.service=api runs"]
    );
}

#[test]
fn labels_say_port_and_weight() {
    let mut one = listed(1);
    one["Labels"]["difygate.port"] = "8080".into();
    one["Labels"]["difygate.weight"] = "3".into();
    assert_eq!(short(&set([one.clone()])), ["api#1 172.18.0.1:8080 3 ready"]);
    one["Labels"]["difygate.weight"] = "0".into();
    let set = set([one]);
    assert_eq!(short(&set), ["api#1 172.18.0.1:8080 1 ready"]);
    assert!(set.notes[0].contains("difygate.weight"), "{:?}", set.notes);
}

#[test]
fn the_only_exposed_port_is_taken_and_of_several_none() {
    let mut settings = settings();
    settings.port = None;
    let mut one = listed(1);
    one["Ports"] = json!([
        { "IP": "0.0.0.0", "PrivatePort": 5001, "PublicPort": 80, "Type": "tcp" },
        { "IP": "::", "PrivatePort": 5001, "PublicPort": 80, "Type": "tcp" },
        { "PrivatePort": 53, "Type": "udp" }
    ]);
    assert_eq!(short(&read([one.clone()]).set(&settings)), ["api#1 172.18.0.1:5001 1 ready"]);
    for (ports, said) in [
        (
            json!([{ "PrivatePort": 1, "Type": "tcp" }, { "PrivatePort": 2, "Type": "tcp" }]),
            "2 ports",
        ),
        (json!([]), "no port"),
        (Value::Null, "no port"),
    ] {
        one["Ports"] = ports;
        let set = read([one.clone()]).set(&settings);
        assert!(set.endpoints.is_empty());
        assert!(set.notes[0].contains(said), "{:?}", set.notes);
    }
}

#[test]
fn of_several_networks_the_projects_own_is_taken_and_a_guess_is_said() {
    let mut one = listed(1);
    one["NetworkSettings"]["Networks"] = json!({
        "dify_ssrf_proxy_network": { "IPAddress": "172.19.0.1" },
        "dify_default": { "IPAddress": "172.18.0.1" },
        "a_down": { "IPAddress": "" }
    });
    let found = set([one.clone()]);
    assert_eq!(found.endpoints[0].address.to_string(), "172.18.0.1:5001");
    assert!(found.notes.is_empty(), "{:?}", found.notes);

    let mut named = settings();
    named.network = Some("dify_ssrf_proxy_network".to_owned());
    let found = read([one.clone()]).set(&named);
    assert_eq!(found.endpoints[0].address.to_string(), "172.19.0.1:5001");
    named.network = Some("a_down".to_owned());
    assert!(read([one.clone()]).set(&named).endpoints.is_empty());
    named.network = Some("other".to_owned());
    let found = read([one.clone()]).set(&named);
    assert!(found.notes[0].contains("`other`"), "{:?}", found.notes);

    one["NetworkSettings"]["Networks"] = json!({
        "b": { "IPAddress": "172.19.0.1" },
        "c": { "IPAddress": "", "GlobalIPv6Address": "fd00::1" }
    });
    let found = set([one]);
    assert_eq!(found.endpoints[0].address.to_string(), "172.19.0.1:5001");
    assert!(found.notes[0].contains("several networks"), "{:?}", found.notes);
}

#[test]
fn of_two_with_one_number_the_one_that_serves_is_meant() {
    // Compose makes the new one before it removes the old.
    let mut new = listed(1);
    new["Id"] = "new".into();
    new["Created"] = 1_700_000_100.into();
    new["NetworkSettings"]["Networks"]["dify_default"]["IPAddress"] = "172.18.0.9".into();
    let mut containers = read([listed(1), new.clone()]);
    assert_eq!(short(&containers.set(&settings())), ["api#1 172.18.0.9:5001 1 ready"]);
    containers.ending.insert("new".to_owned());
    assert_eq!(short(&containers.set(&settings())), ["api#1 172.18.0.1:5001 1 ready"]);
}

#[test]
fn containers_chosen_by_label_are_told_apart_across_projects() {
    let by_label = Selection::Label { service: "chat".to_owned() };
    let mut settings = settings();
    settings.selection = by_label;
    let labelled = |number: u32, project: &str| {
        let mut one = listed(number);
        one["Labels"]["difygate.service"] = "chat".into();
        one["Labels"]["com.docker.compose.project"] = project.into();
        one
    };
    let mut plain = listed(3);
    plain["Labels"] = json!({ "difygate.service": "chat" });
    plain["Names"] = json!(["/alone"]);
    let mut other = labelled(2, "test");
    other["Labels"]["com.docker.compose.container-number"] = "1".into();
    let set = read([labelled(1, "dify"), other, plain]).set(&settings);
    let names: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(names, ["api#alone", "api#dify-api-1", "api#test-api-1"]);
}

fn any_event() -> impl Strategy<Value = Event> {
    let action = prop_oneof![
        Just("start"),
        Just("die"),
        Just("stop"),
        Just("destroy"),
        Just("pause"),
        Just("unpause"),
        Just("kill"),
        Just("health_status: unhealthy"),
        Just("health_status: healthy"),
        Just("connect"),
        Just("disconnect"),
        Just("exec_create: curl"),
    ];
    (action, 1_u32..5, any::<bool>()).prop_map(|(action, number, is_stop)| {
        let id = format!("{number:064x}");
        let event = if action.ends_with("connect") {
            let attributes = json!({ "container": id, "name": "dify_default" });
            json!({ "Type": "network", "Action": action, "Actor": { "ID": "n", "Attributes": attributes } })
        } else {
            let mut attributes = listed(number)["Labels"].clone();
            attributes["signal"] = if is_stop { "15" } else { "1" }.into();
            json!({ "Type": "container", "Action": action, "Actor": { "ID": id, "Attributes": attributes } })
        };
        serde_json::from_value(event).unwrap()
    })
}

proptest! {
    #[test]
    fn after_any_events_names_and_addresses_are_unique_and_a_list_after_their_starts_mends_all(
        events in vec(any_event(), 0..30)
    ) {
        let settings = settings();
        let list = || -> Vec<Container> {
            serde_json::from_value((1..5).map(listed).collect()).unwrap()
        };
        let mut containers = Containers::default();
        containers.replace(list());
        let whole = containers.set(&settings);
        for event in &events {
            containers.apply(event, &settings.selection);
            let set = containers.set(&settings);
            let mut names: Vec<_> = set.endpoints.iter().map(|e| &e.name).collect();
            names.dedup();
            assert_eq!(names.len(), set.endpoints.len());
            for endpoint in &set.endpoints {
                let before = whole.endpoints.iter().find(|e| e.name == endpoint.name).unwrap();
                assert_eq!(endpoint.address, before.address);
            }
        }
        for container in list() {
            let event = json!({
                "Type": "container", "Action": "start",
                "Actor": { "ID": container.id, "Attributes": container.labels }
            });
            containers.apply(&serde_json::from_value(event).unwrap(), &settings.selection);
        }
        containers.replace(list());
        assert_eq!(containers.set(&settings), whole);
    }
}
