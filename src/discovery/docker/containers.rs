//! From a list of containers to a set of endpoints. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::settings::{
    DockerSettings, NUMBER, ONE_OFF, OWN_ENABLE, OWN_PORT, OWN_WEIGHT, PROJECT, SERVICE, Selection,
};
use super::wire::{Container, Network};
use crate::discovery::endpoint::{DiscoveredSet, Endpoint, EndpointState, MAX_WEIGHT};

/// The containers of a selection, by the last list and the events since.
#[derive(Debug, Default)]
pub(super) struct Containers {
    /// By id.
    pub(super) by_id: BTreeMap<String, Container>,
    /// Those that ended: the engine may still list them as running for a moment after it said so.
    pub(super) ended: BTreeSet<String>,
    /// Those that were told to end, which no list shows.
    pub(super) ending: BTreeSet<String>,
}

impl Containers {
    /// Takes over a full list, of which what was said since it began may be older.
    pub(super) fn replace(&mut self, list: Vec<Container>) {
        self.by_id = list.into_iter().map(|container| (container.id.clone(), container)).collect();
        self.ended.retain(|id| self.by_id.contains_key(id));
        self.ending.retain(|id| self.by_id.contains_key(id));
    }

    /// What they are as endpoints.
    pub(super) fn set(&self, settings: &DockerSettings) -> DiscoveredSet {
        let mut notes = Vec::new();
        let mut found: BTreeMap<_, Candidate> = BTreeMap::new();
        for container in self.by_id.values().filter(|container| self.belongs(settings, container)) {
            let mut candidate = match candidate(container, settings, &mut notes) {
                Ok(candidate) => candidate,
                Err(why) => {
                    notes.push(format!("container {} is left out: {why}", display_name(container)));
                    continue;
                }
            };
            let (state, why) = self.state(container);
            (candidate.endpoint.state, candidate.endpoint.why) = (state, why.map(str::to_owned));
            // While a container is replaced, two may have its number.
            let key = order(&candidate.endpoint.name);
            match found.get(&key) {
                Some(other) if other.rank() >= candidate.rank() => {}
                _ => drop(found.insert(key, candidate)),
            }
        }
        let mut set = DiscoveredSet { endpoints: Vec::new(), notes };
        let mut taken = BTreeMap::new();
        for candidate in found.into_values() {
            let Endpoint { name, address, .. } = &candidate.endpoint;
            if let Some(other) = taken.insert(*address, name.clone()) {
                set.notes.push(format!("{name} is left out: {other} has its address, {address}"));
                continue;
            }
            set.endpoints.push(candidate.endpoint);
        }
        if set.endpoints.is_empty() && set.notes.is_empty() {
            let labels = settings.selection.labels().into_iter();
            let labels: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
            set.notes.push(format!("no container with {} runs", labels.join(" and ")));
        }
        set
    }

    /// Whether a container takes requests, and why not.
    fn state(&self, container: &Container) -> (EndpointState, Option<&'static str>) {
        if self.ending.contains(&container.id) {
            return (EndpointState::Draining, Some("it was told to stop"));
        }
        match health(container) {
            Health::Good => (EndpointState::Ready, None),
            Health::Starting => {
                (EndpointState::Starting, Some("its health check has not passed yet"))
            }
            Health::Unhealthy => (EndpointState::Draining, Some("its health check fails")),
        }
    }

    /// Whether a container is meant at all. What the operator switched off needs no note.
    fn belongs(&self, settings: &DockerSettings, container: &Container) -> bool {
        let label = |key: &str| container.labels.get(key).map(|value| value.to_ascii_lowercase());
        let is_off = |value: String| matches!(value.as_str(), "false" | "0" | "no" | "off");
        settings.selection.takes(&container.labels)
            && !self.ended.contains(&container.id)
            && label(ONE_OFF).as_deref() != Some("true")
            && !label(OWN_ENABLE).is_some_and(is_off)
            && matches!(container.state.as_str(), "running" | "paused")
    }
}

/// A container that may become an endpoint.
struct Candidate {
    endpoint: Endpoint,
    created: i64,
    id: String,
}

impl Candidate {
    /// Which of two with the same name is meant: the one that takes requests, then the newer.
    fn rank(&self) -> (u8, i64, Reverse<&str>) {
        let state = match self.endpoint.state {
            EndpointState::Ready => 2,
            EndpointState::Starting => 1,
            EndpointState::Draining => 0,
        };
        (state, self.created, Reverse(&self.id))
    }
}

/// Name, address and weight of a container; what is odd about them goes to `notes`.
fn candidate(
    container: &Container,
    settings: &DockerSettings,
    notes: &mut Vec<String>,
) -> Result<Candidate, String> {
    if container.state == "paused" {
        return Err("it is paused".to_owned());
    }
    let port = port(container, settings)?;
    let ip = address(container, settings, notes)?;
    let weight = match container.labels.get(OWN_WEIGHT) {
        None => 1,
        Some(text) => match text.parse() {
            Ok(weight @ 1..=MAX_WEIGHT) => weight,
            _ => {
                notes.push(format!(
                    "container {}: the label {OWN_WEIGHT}={text:?} is no whole number from 1 to \
                     {MAX_WEIGHT}; 1 is taken",
                    display_name(container)
                ));
                1
            }
        },
    };
    let endpoint = Endpoint {
        name: format!("{}#{}", settings.name, identity(container, &settings.selection)),
        address: SocketAddr::new(ip, port),
        weight,
        priority: 0,
        state: EndpointState::Ready,
        why: None,
    };
    Ok(Candidate { endpoint, created: container.created, id: container.id.clone() })
}

/// What a container keeps when it is made anew: compose's number, with project and service where a
/// selection takes several; its name where compose has not made it.
fn identity(container: &Container, selection: &Selection) -> String {
    let label = |key: &str| container.labels.get(key);
    match (selection, label(NUMBER)) {
        (Selection::Compose { .. }, Some(number)) => number.clone(),
        (Selection::Label { .. }, Some(number)) => {
            let part = |key| label(key).map_or("", String::as_str);
            format!("{}-{}-{number}", part(PROJECT), part(SERVICE))
        }
        (_, None) => display_name(container).to_owned(),
    }
}

/// For people: its name, or the beginning of its id.
fn display_name(container: &Container) -> &str {
    match container.names.first() {
        Some(name) => name.trim_start_matches('/'),
        None => container.id.get(..12).unwrap_or(&container.id),
    }
}

fn port(container: &Container, settings: &DockerSettings) -> Result<u16, String> {
    if let Some(text) = container.labels.get(OWN_PORT) {
        let port = text.parse().ok().filter(|port| *port > 0);
        return port.ok_or_else(|| format!("its label {OWN_PORT}={text:?} is no port"));
    }
    if let Some(port) = settings.port {
        return Ok(port);
    }
    let tcp = container.ports.iter().filter(|port| port.kind == "tcp" && port.private_port > 0);
    let exposed: BTreeSet<_> = tcp.map(|port| port.private_port).collect();
    match (exposed.first(), exposed.len()) {
        (Some(port), 1) => Ok(*port),
        (None, _) => Err(format!("it exposes no port: set `port`, or the label {OWN_PORT}")),
        (Some(_), count) => {
            Err(format!("it exposes {count} ports: set `port`, or the label {OWN_PORT}"))
        }
    }
}

/// Its address in the network that is meant.
fn address(
    container: &Container,
    settings: &DockerSettings,
    notes: &mut Vec<String>,
) -> Result<IpAddr, String> {
    let networks = &container.network_settings.networks;
    let names = || networks.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = &settings.network {
        let network = networks.get(wanted);
        let network = network
            .ok_or_else(|| format!("it is not in the network `{wanted}`, but in: {}", names()))?;
        return ip(network).ok_or_else(|| format!("it has no address in the network `{wanted}`"));
    }
    let addresses: BTreeMap<&str, IpAddr> =
        networks.iter().filter_map(|(name, network)| Some((name.as_str(), ip(network)?))).collect();
    let project = container.labels.get(PROJECT);
    let default = project.and_then(|project| addresses.get(format!("{project}_default").as_str()));
    let (Some((first, address)), count) = (addresses.first_key_value(), addresses.len()) else {
        return Err("it has no address of its own, as in the host's network".to_owned());
    };
    match default {
        Some(address) => Ok(*address),
        None => {
            if count > 1 {
                notes.push(format!(
                    "container {} is in several networks ({}) and `{first}` is taken: set `network`",
                    display_name(container),
                    names()
                ));
            }
            Ok(*address)
        }
    }
}

fn ip(network: &Network) -> Option<IpAddr> {
    network.ipv4.parse().ok().or_else(|| network.ipv6.parse().ok())
}

enum Health {
    Good,
    Starting,
    Unhealthy,
}

/// By the field that newer engines have, else by the text for people, which has not changed since there are
/// health checks.
fn health(container: &Container) -> Health {
    let status = container.status.as_str();
    match container.health.status.as_str() {
        "starting" => Health::Starting,
        "unhealthy" => Health::Unhealthy,
        "" if status.contains("(health: starting)") => Health::Starting,
        "" if status.contains("(unhealthy)") => Health::Unhealthy,
        _ => Health::Good,
    }
}

/// A key that sorts `api#10` after `api#9`.
fn order(name: &str) -> (u64, String) {
    let number = name.rsplit('#').next().and_then(|number| number.parse().ok());
    (number.unwrap_or(u64::MAX), name.to_owned())
}

#[cfg(test)]
mod tests;
