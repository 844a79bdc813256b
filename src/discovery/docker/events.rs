//! What an event changes. Pure.

use super::containers::Containers;
use super::settings::Selection;
use super::wire::Event;

/// What is to be done after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Nothing,
    /// The set is another one.
    Changed,
    /// Something came that only a list tells of.
    List,
}

/// The numbers of the signals that end a process in order: SIGINT, SIGQUIT, SIGTERM. Docker sends the
/// one that the image names, and SIGTERM where it names none. What ignores it is out until it starts anew:
/// whether a process means to end, the engine does not know.
const STOP_SIGNALS: &[&str] = &["2", "3", "15"];

impl Containers {
    /// Takes an event over. One that is older than the last list does no lasting harm: what it takes away
    /// from a container that runs again is given back by that container's `start`, which comes after it.
    pub(super) fn apply(&mut self, event: &Event, selection: &Selection) -> Effect {
        match event.kind.as_str() {
            "container" => self.apply_to_container(event, selection),
            "network" => self.apply_to_network(event),
            _ => Effect::Nothing,
        }
    }

    fn apply_to_container(&mut self, event: &Event, selection: &Selection) -> Effect {
        let id = &event.actor.id;
        let action = event.action.as_str();
        if action == "start" {
            self.ended.remove(id);
            self.ending.remove(id);
            let is_ours = selection.takes(&event.actor.attributes);
            return if is_ours { Effect::List } else { Effect::Nothing };
        }
        let Some(container) = self.by_id.get_mut(id) else { return Effect::Nothing };
        match action {
            "kill" => {
                let signal = event.actor.attributes.get("signal");
                if signal.is_some_and(|signal| STOP_SIGNALS.contains(&signal.as_str())) {
                    self.ending.insert(id.clone());
                    return Effect::Changed;
                }
                Effect::Nothing
            }
            "die" | "stop" | "destroy" => {
                self.by_id.remove(id);
                self.ending.remove(id);
                self.ended.insert(id.clone());
                Effect::Changed
            }
            "pause" => {
                "paused".clone_into(&mut container.state);
                Effect::Changed
            }
            "unpause" | "rename" => Effect::List,
            _ => match action.strip_prefix("health_status: ") {
                Some(status) => {
                    status.clone_into(&mut container.health.status);
                    Effect::Changed
                }
                None => Effect::Nothing,
            },
        }
    }

    fn apply_to_network(&mut self, event: &Event) -> Effect {
        let attribute = |key: &str| event.actor.attributes.get(key);
        let (Some(id), Some(network)) = (attribute("container"), attribute("name")) else {
            return Effect::Nothing;
        };
        let Some(container) = self.by_id.get_mut(id) else { return Effect::Nothing };
        match event.action.as_str() {
            "connect" => Effect::List,
            "disconnect" => {
                container.network_settings.networks.remove(network);
                Effect::Changed
            }
            _ => Effect::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
