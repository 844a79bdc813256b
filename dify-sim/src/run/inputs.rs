//! The inputs of a flow: the fields of its form and what the system adds, which differs from
//! release to release and from event to event. All is JSON text.

use super::flow_files;
use super::turn::Turn;
use crate::app::Mode;
use crate::pyjson;
use crate::release::Release;

/// Where the inputs are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// In `workflow_started`.
    Started,
    /// By the start node.
    Node,
    /// In the row of the run.
    Row,
}

impl Turn {
    /// The inputs, with the files of the request as this text.
    pub(super) fn flow_inputs(&self, given: &str, shown: Shown) -> String {
        let mut fields = self.form_fields();
        let release = self.release();
        if shown == Shown::Node && release.is_restx() && !release.shows_system_inputs() {
            if self.app.app.moderation.is_some() {
                fields.push(("query__", pyjson::quote(&self.query)));
            }
        } else {
            fields.extend(self.system_fields(given, shown));
        }
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}: {value}", pyjson::quote(name)))
            .collect();
        format!("{{{}}}", fields.join(", "))
    }

    fn form_fields(&self) -> Vec<(&str, String)> {
        let fields = self.inputs.as_object().into_iter().flatten();
        fields.map(|(name, value)| (name.as_str(), flow_files::shown_value(self, value))).collect()
    }

    fn system_fields(&self, given: &str, shown: Shown) -> Vec<(&'static str, String)> {
        let id = |id: uuid::Uuid| format!("\"{id}\"");
        let release = self.release();
        let later = release.is_restx();
        let query = ("sys.query", pyjson::quote(&self.query));
        let given = ("sys.files", given.to_owned());
        let conversation = ("sys.conversation_id", id(self.conversation));
        let user = ("sys.user_id", pyjson::quote(&self.user));
        let turns = self.turns_before + usize::from(later);
        let turns = ("sys.dialogue_count", turns.to_string());
        let app = ("sys.app_id", id(self.app.id));
        let timestamp = ("sys.timestamp", self.created_at.to_string());
        let workflow = ("sys.workflow_id", id(self.app.workflow_id));
        let run = ("sys.workflow_run_id", id(self.run));
        if self.app.app.mode == Mode::Workflow {
            return match shown {
                Shown::Row if later => vec![given, user, app, timestamp, workflow, run],
                Shown::Node if later => vec![given, user, app, workflow, run, timestamp],
                _ => vec![given, user, app, workflow, run],
            };
        }
        match release {
            Release::V1_5 => vec![query, given, conversation, user, turns, app, workflow, run],
            Release::V1_12 | Release::V1_13 => {
                let mut fields = vec![given, user, app, workflow, run, query];
                if shown == Shown::Node {
                    fields.push(conversation);
                }
                fields.push(turns);
                fields
            }
            Release::V1_14 | Release::Main => {
                vec![query, given, user, turns, app, workflow, run]
            }
        }
    }
}
