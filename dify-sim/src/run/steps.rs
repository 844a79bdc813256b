//! What chatflows and workflows have in common: their run's row, its nodes, how it ends.

use super::inputs::Shown;
use super::nodes::{Finish, Result as NodeResult};
use super::stage::{Halt, Stage};
use super::turn::Turn;
use super::{flow_files, usage};
use crate::clock::now;
use crate::db::{Node, Run, Step};
use crate::ran::RunEnd;
use uuid::Uuid;

/// What a run says that somebody else stopped.
pub(super) const ABORTED: &str = "Aborted: User requested stop";
/// What a run says that its user stopped.
pub(super) const STOPPED: &str = "Stopped by user.";

/// A flow as far as it got.
pub(super) struct Steps<'p, 's> {
    pub(super) turn: &'p Turn,
    pub(super) stage: &'p mut Stage<'s>,
    pub(super) count: u32,
    pub(super) exceptions: u32,
    pub(super) tokens: u32,
}

impl<'p, 's> Steps<'p, 's> {
    pub(super) fn new(turn: &'p Turn, stage: &'p mut Stage<'s>) -> Self {
        Self { turn, stage, count: 0, exceptions: 0, tokens: 0 }
    }

    /// Stores the run and tells that it has begun.
    pub(super) async fn begin(&mut self) -> Result<(), Halt> {
        let turn = self.turn;
        let given = match turn.app.app.mode {
            crate::app::Mode::Workflow => "[]".to_owned(),
            _ => flow_files::listed(turn, flow_files::Url::Now),
        };
        let row = turn.flow_inputs(&given, Shown::Row);
        store(turn, row);
        let started = turn.flow_inputs(&given, Shown::Started);
        let data = turn.flow_started(&started, "initial");
        self.stage.event(|| turn.flow_event("workflow_started", &data)).await
    }

    pub(super) async fn start(
        &mut self,
        name: &'static str,
        kind: &'static str,
        title: &'static str,
        before: Option<&'static str>,
    ) -> Result<Node, Halt> {
        let node = Turn::node(name, kind, title, self.count + 1, before);
        self.start_node(&node).await?;
        Ok(node)
    }

    /// Tells that a node begins.
    pub(super) async fn start_node(&mut self, node: &Node) -> Result<(), Halt> {
        self.count += 1;
        let turn = self.turn;
        self.note(node);
        let release = turn.release();
        self.stage.event(|| turn.flow_event("node_started", &node.started(release))).await
    }

    /// A node in the row of the run.
    pub(super) fn note(&self, node: &Node) {
        if let Some(row) = self.turn.shared.db().runs.get_mut(self.turn.run) {
            row.nodes.retain(|step| step.node.id != node.id);
            row.nodes.push(Step { node: *node, end: None });
        }
    }

    /// The result of a node with these inputs, data and outputs.
    pub(super) fn result<'a>(
        &self,
        inputs: &'a str,
        process_data: &'a str,
        outputs: &'a str,
    ) -> NodeResult<'a> {
        let plain = NodeResult::plain(self.stage.elapsed(), now());
        NodeResult { inputs, process_data, outputs, ..plain }
    }

    pub(super) async fn finish(
        &mut self,
        node: &Node,
        result: &NodeResult<'_>,
    ) -> Result<(), Halt> {
        self.note_end(node, result.status);
        if result.error.is_some() {
            self.exceptions += 1;
        }
        let turn = self.turn;
        let data = node.finished(result, turn.release());
        self.stage.event(|| turn.flow_event("node_finished", &data)).await
    }

    /// How a node ended, in the row of the run.
    pub(super) fn note_end(&self, node: &Node, status: &'static str) {
        let end = (status, self.stage.elapsed(), now());
        if let Some(row) = self.turn.shared.db().runs.get_mut(self.turn.run) {
            let steps = row.nodes.iter_mut().filter(|step| step.node.id == node.id);
            steps.for_each(|step| step.end = Some(end));
        }
    }

    /// A node that fails with this error.
    pub(super) async fn fail(
        &mut self,
        node: &Node,
        result: NodeResult<'_>,
        error: &str,
    ) -> Result<(), Halt> {
        let result = NodeResult { status: "failed", error: Some(error), ..result };
        self.finish(node, &result).await
    }

    /// The start node; `between` is what happens while it is at work.
    pub(super) async fn start_finish(&mut self, node: &Node) -> Result<(), Halt> {
        let turn = self.turn;
        let workflow = turn.app.app.mode == crate::app::Mode::Workflow;
        let list = |url| if workflow { "[]".to_owned() } else { flow_files::listed(turn, url) };
        if turn.release().is_restx() {
            let shown = turn.flow_inputs(&list(flow_files::Url::Now), Shown::Node);
            // Files of the form are outputs of the node, those of a question are not.
            let given = match workflow {
                true => flow_files::listed(turn, flow_files::Url::Now),
                false => "[]".to_owned(),
            };
            let result = NodeResult { files: &given, ..self.result(&shown, "null", &shown) };
            return self.finish(node, &result).await;
        }
        let hidden = turn.flow_inputs(&list(flow_files::Url::Absent), Shown::Node);
        let shown = turn.flow_inputs(&list(flow_files::Url::Now), Shown::Node);
        let given = list(flow_files::Url::Now);
        let result = NodeResult { files: &given, ..self.result(&hidden, "null", &shown) };
        self.finish(node, &result).await
    }

    /// The end of the run, stored.
    pub(super) fn end<'a>(
        &self,
        status: &'static str,
        outputs: &'a str,
        error: &'a str,
    ) -> Finish<'a> {
        let finish = Finish {
            status,
            outputs,
            error,
            elapsed: self.stage.elapsed(),
            tokens: if status == "succeeded" { self.tokens } else { 0 },
            steps: self.count,
            exceptions: self.exceptions,
            files: "[]".to_owned(),
            finished_at: now(),
        };
        save(self.turn, &finish);
        finish
    }
}

fn store(turn: &Turn, inputs: String) {
    let weight = 2 * inputs.len();
    let row = Run {
        app: turn.app.id,
        live: turn.live.clone(),
        nodes: Vec::new(),
        workflow: turn.app.workflow_id,
        published: turn.app.published.clone(),
        user: turn.user.clone(),
        user_id: turn.user_id,
        inputs,
        outputs: None,
        status: "running",
        error: None,
        steps: 0,
        tokens: 0,
        created_at: turn.created_at,
        finished_at: None,
        elapsed: 0.0,
        exceptions: 0,
        pause: None,
        conversation: (turn.app.app.mode != crate::app::Mode::Workflow)
            .then_some((turn.conversation, turn.message)),
        log: None,
    };
    turn.shared.db().runs.insert(turn.run, row, weight);
}

fn save(turn: &Turn, finish: &Finish<'_>) {
    turn.note(match finish.status {
        "succeeded" | "partial-succeeded" => RunEnd::Succeeded,
        "stopped" => RunEnd::Stopped,
        _ if finish.error == ABORTED => RunEnd::Stopped,
        _ => RunEnd::Failed,
    });
    let is_workflow = turn.app.app.mode == crate::app::Mode::Workflow;
    if let Some(row) = turn.shared.db().runs.get_mut(turn.run) {
        row.status = finish.status;
        row.outputs = Some(finish.outputs.to_owned());
        row.error = (!finish.error.is_empty()).then(|| finish.error.to_owned());
        row.steps = finish.steps;
        row.tokens = finish.tokens;
        row.elapsed = finish.elapsed;
        row.finished_at = Some(finish.finished_at);
        row.exceptions = finish.exceptions;
        row.live = None;
        row.log = is_workflow.then(|| (Uuid::new_v4(), finish.finished_at));
    }
}

/// Tokens that a model node used which gave so many.
pub(super) fn used(count: usize) -> (u32, u32) {
    let count = u32::try_from(count).unwrap_or(u32::MAX - usage::PROMPT_TOKENS);
    (count, count + usage::PROMPT_TOKENS)
}
