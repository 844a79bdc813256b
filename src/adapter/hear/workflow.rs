//! The start, the nodes and the end of a workflow or chatflow.

use serde_json::Value;

use super::event::{Counts, Event, Node, Used, Workflow};
use super::lenient::part;
use super::outputs::output;
use super::run::{Flow, Run};
use crate::adapter::mode::Mode;
use crate::adapter::voice::Heard;
use crate::dify::answer::Usage;
use crate::model::{ErrorKind, GatewayError};

/// What Dify says of a run that was stopped where it does not call it `stopped` (1.12 and later, by
/// chance).
const STOP: &str = "User requested stop";

/// How a flow ended.
enum End {
    /// It has an answer, perhaps not a whole one.
    Well,
    Failed(String),
    Paused,
}

/// Whether a failure is a stop that somebody asked for.
pub(super) fn is_stop(error: &str) -> bool {
    error.contains(STOP)
}

/// How a flow ended, by its status where that is known, else by its error.
fn end(run: &Workflow<'_>) -> End {
    let error = run.error.get();
    let unsaid = || "it does not say why".to_owned();
    match (run.status.or_empty(), error) {
        ("succeeded" | "partial-succeeded" | "stopped", _) => End::Well,
        ("paused", _) => End::Paused,
        (_, Some(error)) if is_stop(error) => End::Well,
        (_, Some(error)) => End::Failed(error.to_owned()),
        ("failed" | "error" | "exception", None) => End::Failed(unsaid()),
        // It says neither how it ended nor what came out.
        (_, None) if run.outputs.is_none() => End::Failed(unsaid()),
        _ => End::Well,
    }
}

impl Run {
    pub(super) fn workflow_started(&mut self, event: &Event<'_>) {
        let run: Workflow<'_> = part(event.data);
        self.flow = match run.reason.get() {
            Some(_) => Flow::InWorker,
            None => Flow::InApi,
        };
    }

    /// Of a workflow app Dify counts only the total; its model calls may count the rest.
    pub(super) fn node_finished(&mut self, event: &Event<'_>) {
        let node: Node<'_> = part(event.data);
        if node.node_type.get() != Some("llm") {
            return;
        }
        let used = |raw| part::<Used<'_>>(raw).usage.map(|usage| part::<Counts>(Some(usage)));
        if let Some(counts) = used(node.process_data).or_else(|| used(node.outputs)) {
            let (nodes, counted) = (&mut self.nodes, usage(counts));
            nodes.prompt_tokens = nodes.prompt_tokens.saturating_add(counted.prompt_tokens);
            nodes.completion_tokens =
                nodes.completion_tokens.saturating_add(counted.completion_tokens);
        }
    }

    pub(super) fn workflow_finished(&mut self, event: &Event<'_>, each: &mut dyn FnMut(Heard)) {
        let run: Workflow<'_> = part(event.data);
        match end(&run) {
            End::Paused => return self.paused(&run, each),
            End::Failed(why) => {
                self.remark(&format!("the run failed: {why}"));
                if self.message_ended {
                    self.state = self.over(each);
                } else {
                    self.workflow_failed(&why);
                }
                return;
            }
            End::Well => {}
        }
        if run.status.get() == Some("partial-succeeded") {
            let count = run.exceptions_count.or_zero();
            self.remark(&format!("the run succeeded although {count} of its nodes failed"));
        }
        self.workflow_ended = true;
        if self.mode == Mode::Workflow {
            self.outputs_of_workflow(&run, each);
        } else {
            self.answer_of_chatflow(&run, each);
        }
        // A chatflow that ran in Dify's API still says what it used; one in the worker has said that
        // already, and nothing if it was stopped.
        let has_more = self.mode != Mode::Workflow
            && !self.message_ended
            && (self.flow != Flow::InWorker || run.status.get() == Some("succeeded"));
        if !has_more {
            self.state = self.over(each);
        }
    }

    fn outputs_of_workflow(&mut self, run: &Workflow<'_>, each: &mut dyn FnMut(Heard)) {
        let total = run.total_tokens.or_zero();
        let Usage { prompt_tokens, completion_tokens, .. } = self.nodes;
        let total_tokens = total.max(prompt_tokens.saturating_add(completion_tokens));
        self.told.usage = Some(Usage { prompt_tokens, completion_tokens, total_tokens });
        if !self.has_text {
            let outputs: Option<Value> = part(run.outputs);
            let answer = output(outputs.as_ref(), self.manner.answer_output.as_deref());
            self.answer(&answer.unwrap_or_default(), each);
        }
        self.files_of_workflow(run, each);
    }

    /// The answer of a chatflow that no message has told.
    fn answer_of_chatflow(&mut self, run: &Workflow<'_>, each: &mut dyn FnMut(Heard)) {
        if !self.has_text {
            let outputs: Option<Value> = part(run.outputs);
            let answer = output(outputs.as_ref(), Some("answer"));
            self.answer(&answer.unwrap_or_default(), each);
        }
    }

    fn workflow_failed(&mut self, why: &str) {
        if self.mode == Mode::Workflow {
            let message = format!("The workflow failed: {why}");
            return self.fail(GatewayError::new(
                502,
                ErrorKind::Server,
                "upstream_run_failed",
                message,
            ));
        }
        // Up to 1.12 an event follows that says of what kind the failure is.
        match self.flow {
            Flow::InWorker => self.fail(run_failed(why)),
            Flow::Unknown | Flow::InApi => self.failure = Some(why.to_owned()),
        }
    }
}

/// As Dify says it of a blocking run, and up to 1.12 in an event of its own.
pub(super) fn run_failed(why: &str) -> GatewayError {
    GatewayError::of_dify(400, "invalid_param", &format!("Run failed: {why}"))
}

/// Counts as Dify wrote them.
pub(super) fn usage(counts: Counts) -> Usage {
    Usage {
        prompt_tokens: counts.prompt_tokens.or_zero(),
        completion_tokens: counts.completion_tokens.or_zero(),
        total_tokens: counts.total_tokens.or_zero(),
    }
}
