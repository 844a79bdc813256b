//! The texts of workflow and node events, shared by chatflows and workflow apps.

use crate::pyjson;
use uuid::Uuid;

/// A step of a flow, as its events name it.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) id: Uuid,
    pub(crate) node: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) index: u32,
    pub(crate) before: Option<&'static str>,
    pub(crate) created_at: i64,
}

/// What a node leaves behind; each field is JSON text.
pub(crate) struct Result<'a> {
    pub(crate) inputs: &'a str,
    pub(crate) process_data: &'a str,
    pub(crate) outputs: &'a str,
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

impl Node {
    fn head(&self) -> String {
        let before = match self.before {
            Some(before) => format!("\"{before}\""),
            None => "null".to_owned(),
        };
        format!(
            "{{\"id\": \"{}\", \"node_id\": \"{}\", \"node_type\": \"{}\", \"title\": \"{}\", \
             \"index\": {}, \"predecessor_node_id\": {before}",
            self.id, self.node, self.kind, self.title, self.index
        )
    }

    /// `data` of `node_started`.
    pub(crate) fn started(&self) -> String {
        format!(
            "{}, \"inputs\": null, \"created_at\": {}, \"extras\": {{}}, {PLACES}, \
             \"parallel_run_id\": null, \"agent_strategy\": null}}",
            self.head(),
            self.created_at
        )
    }

    /// `data` of `node_finished`.
    pub(crate) fn finished(&self, result: &Result<'_>) -> String {
        let (status, error) = match result.error {
            Some(error) => ("failed", pyjson::quote(error)),
            None => ("succeeded", "null".to_owned()),
        };
        format!(
            "{}, \"inputs\": {}, \"process_data\": {}, \"outputs\": {}, \"status\": \"{status}\", \
             \"error\": {error}, \"elapsed_time\": {}, \"execution_metadata\": {}, \
             \"created_at\": {}, \"finished_at\": {}, \"files\": {}, {PLACES}}}",
            self.head(),
            result.inputs,
            result.process_data,
            result.outputs,
            seconds(result.elapsed),
            result.metadata,
            self.created_at,
            result.finished_at,
            result.files
        )
    }
}

/// The end of a flow; `outputs` is JSON text.
pub(crate) struct Finish<'a> {
    pub(crate) status: &'a str,
    pub(crate) outputs: &'a str,
    pub(crate) error: &'a str,
    pub(crate) elapsed: f64,
    pub(crate) tokens: u32,
    pub(crate) steps: u32,
    pub(crate) finished_at: i64,
}

/// A float as Python writes it, for times of zero and up.
pub(crate) fn seconds(value: f64) -> String {
    if value != 0.0 && value < 1e-4 { format!("{value:.6}") } else { format!("{value:?}") }
}
