//! What a Docker source is told.

use std::collections::HashMap;
use std::time::Duration;

use super::address::EngineAddress;
use crate::discovery::source::KeepLast;

/// Compose's label for the project of a container.
pub(super) const PROJECT: &str = "com.docker.compose.project";
/// Compose's label for the service.
pub(super) const SERVICE: &str = "com.docker.compose.service";
/// Compose's label for the number among the replicas.
pub(super) const NUMBER: &str = "com.docker.compose.container-number";
/// Compose's label for what `docker compose run` made.
pub(super) const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Our label: which of the gateway's services a container belongs to.
pub(super) const OWN_SERVICE: &str = "difygate.service";
/// Our label: the TCP port.
pub(super) const OWN_PORT: &str = "difygate.port";
/// Our label: the weight.
pub(super) const OWN_WEIGHT: &str = "difygate.weight";
/// Our label: `false` leaves a container out.
pub(super) const OWN_ENABLE: &str = "difygate.enable";

/// Which containers, and where they listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// What the endpoints are called: `api` makes `api#1`, `api#2`.
    pub name: String,
    /// The engine.
    pub engine: EngineAddress,
    /// Which containers.
    pub selection: Selection,
    /// The TCP port where no label `difygate.port` says another. Without either it is the one port that
    /// a container exposes.
    pub port: Option<u16>,
    /// The network whose addresses are used. Without it that of a container's only network, or of
    /// `<project>_default`.
    pub network: Option<String>,
    /// How long the last good answer holds.
    pub keep_last: KeepLast,
    /// How long things take.
    pub timing: DockerTiming,
}

/// Which containers belong to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those of a service of a compose project.
    Compose {
        /// The project (`docker compose ls`).
        project: String,
        /// The service.
        service: String,
    },
    /// Those with the label `difygate.service` of this value.
    Label {
        /// The value.
        service: String,
    },
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DockerTiming {
    /// From one full list to the next.
    pub list_every: Duration,
    /// How long the engine has for an answer.
    pub answer: Duration,
    /// The first pause before it is asked again after a failure; each is twice the one before.
    pub first_pause: Duration,
    /// The longest such pause.
    pub longest_pause: Duration,
}

impl Default for DockerTiming {
    fn default() -> Self {
        Self {
            list_every: Duration::from_secs(30),
            answer: Duration::from_secs(5),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
        }
    }
}

impl DockerSettings {
    /// The defaults: the socket at its usual place, the port and network of the containers, the last good
    /// answer for ever.
    pub fn new(name: impl Into<String>, selection: Selection) -> Self {
        Self {
            name: name.into(),
            engine: EngineAddress::default(),
            selection,
            port: None,
            network: None,
            keep_last: KeepLast::Forever,
            timing: DockerTiming::default(),
        }
    }
}

impl Selection {
    /// The labels that a container has, and their values.
    pub(super) fn labels(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Compose { project, service } => vec![(PROJECT, project), (SERVICE, service)],
            Self::Label { service } => vec![(OWN_SERVICE, service)],
        }
    }

    /// Whether a container with these labels belongs to it.
    pub(super) fn takes(&self, labels: &HashMap<String, String>) -> bool {
        let has = |(key, value): (&str, &str)| labels.get(key).is_some_and(|own| own == value);
        self.labels().into_iter().all(has)
    }
}
