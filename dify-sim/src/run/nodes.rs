//! The texts of workflow and node events, shared by chatflows and workflow apps.

use crate::db::Node;
use crate::pyjson;
use crate::release::Release;
use std::borrow::Cow;

/// What a node leaves behind; each field is JSON text.
pub(crate) struct Result<'a> {
    pub(crate) inputs: &'a str,
    pub(crate) process_data: &'a str,
    pub(crate) outputs: &'a str,
    /// How it ended.
    pub(crate) status: &'static str,
    /// Its error, if it failed.
    pub(crate) error: Option<&'a str>,
    pub(crate) elapsed: f64,
    pub(crate) metadata: &'a str,
    pub(crate) files: &'a str,
    pub(crate) finished_at: i64,
}

const PLACES: &str = "\"parallel_id\": null, \"parallel_start_node_id\": null, \
    \"parent_parallel_id\": null, \"parent_parallel_start_node_id\": null, \
    \"iteration_id\": null, \"loop_id\": null";

impl<'a> Result<'a> {
    /// What a node leaves behind that had nothing to do.
    pub(crate) fn plain(elapsed: f64, finished_at: i64) -> Self {
        Self {
            inputs: "null",
            process_data: "null",
            outputs: "null",
            status: "succeeded",
            error: None,
            elapsed,
            metadata: "{}",
            files: "[]",
            finished_at,
        }
    }
}

impl Node {
    fn head(&self, release: Release) -> String {
        let (index, before) = match self.before {
            _ if release.is_restx() => (1, "null".to_owned()),
            Some(before) => (self.index, format!("\"{before}\"")),
            None => (self.index, "null".to_owned()),
        };
        format!(
            "{{\"id\": \"{}\", \"node_id\": \"{}\", \"node_type\": \"{}\", \"title\": \"{}\", \
             \"index\": {index}, \"predecessor_node_id\": {before}",
            self.id, self.node, self.kind, self.title
        )
    }

    /// The iteration or loop it is in, as the last fields of its events.
    fn round(&self) -> String {
        let id = |kind: &str| match self.within {
            Some((found, id)) if found == kind => format!("\"{id}\""),
            _ => "null".to_owned(),
        };
        format!("\"iteration_id\": {}, \"loop_id\": {}", id("iteration"), id("loop"))
    }

    /// `data` of `node_started`.
    pub(crate) fn started(&self, release: Release) -> String {
        let head = self.head(release);
        if release.is_restx() {
            return format!(
                "{head}, \"inputs\": null, \"inputs_truncated\": false, \"created_at\": {}, \
                 \"extras\": {{}}, {}, \"agent_strategy\": null}}",
                self.created_at,
                self.round()
            );
        }
        format!(
            "{head}, \"inputs\": null, \"created_at\": {}, \"extras\": {{}}, {PLACES}, \
             \"parallel_run_id\": null, \"agent_strategy\": null}}",
            self.created_at
        )
    }

    /// `data` of `node_finished`; later releases have no null where nothing is.
    pub(crate) fn finished(&self, result: &Result<'_>, release: Release) -> String {
        let error = result.error.map_or(Cow::Borrowed("null"), |text| pyjson::quote(text).into());
        let head = self.head(release);
        let (created_at, finished_at) = (self.created_at, result.finished_at);
        let (status, elapsed) = (result.status, seconds(result.elapsed));
        if release.is_restx() {
            let or = |text: &'_ str, empty: &str, instead: &str| {
                if text == empty { instead.to_owned() } else { text.to_owned() }
            };
            return format!(
                "{head}, \"inputs\": {}, \"inputs_truncated\": false, \"process_data\": {}, \
                 \"process_data_truncated\": false, \"outputs\": {}, \"outputs_truncated\": false, \
                 \"status\": \"{status}\", \"error\": {error}, \"elapsed_time\": {elapsed}, \
                 \"execution_metadata\": {}, \"created_at\": {created_at}, \"finished_at\": \
                 {finished_at}, \"files\": {}, {}}}",
                or(result.inputs, "null", "{}"),
                or(result.process_data, "null", "{}"),
                or(result.outputs, "null", "{}"),
                or(result.metadata, "{}", "null"),
                result.files,
                self.round()
            );
        }
        format!(
            "{head}, \"inputs\": {}, \"process_data\": {}, \"outputs\": {}, \"status\": \"{status}\", \
             \"error\": {error}, \"elapsed_time\": {elapsed}, \"execution_metadata\": {}, \
             \"created_at\": {created_at}, \"finished_at\": {finished_at}, \"files\": {}, {PLACES}}}",
            result.inputs, result.process_data, result.outputs, result.metadata, result.files
        )
    }
}

/// The end of a flow; `outputs` is JSON text.
pub(crate) struct Finish<'a> {
    pub(crate) status: &'static str,
    pub(crate) outputs: &'a str,
    pub(crate) error: &'a str,
    pub(crate) elapsed: f64,
    pub(crate) tokens: u32,
    pub(crate) steps: u32,
    /// Nodes that failed.
    pub(crate) exceptions: u32,
    /// Files among the outputs, as JSON text.
    pub(crate) files: String,
    pub(crate) finished_at: i64,
}

/// A float as Python writes it, for times of zero and up.
pub(crate) fn seconds(value: f64) -> String {
    if value != 0.0 && value < 1e-4 { format!("{value:.6}") } else { format!("{value:?}") }
}
