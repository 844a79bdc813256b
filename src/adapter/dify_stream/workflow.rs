//! The start, the nodes and the end of a workflow or chatflow.

use serde_json::Value;

use super::event::{Counts, Event, Node, Used, Workflow};
use super::lenient::part;
use super::outputs::output;
use super::run_decoder::{FlowHost, RunDecoder};
use super::run_error::{is_stop, run_failed};
use super::usage::usage;
use crate::adapter::mode::Mode;
use crate::adapter::response_encoder::AppEvent;
use crate::dify::response_body::Usage;
use crate::model::{ErrorKind, GatewayError};

enum Outcome {
    /// It has an answer, perhaps not a whole one.
    Succeeded,
    Failed(String),
    Paused,
}

/// How a flow ended, by its status where that is known, else by its error.
fn outcome(run: &Workflow<'_>) -> Outcome {
    let error = run.error.get();
    let unsaid = || "it does not say why".to_owned();
    match (run.status.or_empty(), error) {
        ("succeeded" | "partial-succeeded" | "stopped", _) => Outcome::Succeeded,
        ("paused", _) => Outcome::Paused,
        (_, Some(error)) if is_stop(error) => Outcome::Succeeded,
        (_, Some(error)) => Outcome::Failed(error.to_owned()),
        ("failed" | "error" | "exception", None) => Outcome::Failed(unsaid()),
        // It says neither how it ended nor what came out.
        (_, None) if run.outputs.is_none() => Outcome::Failed(unsaid()),
        _ => Outcome::Succeeded,
    }
}

impl RunDecoder {
    pub(super) fn workflow_started(&mut self, event: &Event<'_>) {
        let run: Workflow<'_> = part(event.data);
        self.flow = match run.reason.get() {
            Some(_) => FlowHost::Worker,
            None => FlowHost::Api,
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

    pub(super) fn workflow_finished(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let run: Workflow<'_> = part(event.data);
        match outcome(&run) {
            Outcome::Paused => return self.paused(&run, emit),
            Outcome::Failed(why) => {
                self.remark(&format!("the run failed: {why}"));
                if self.message_ended {
                    self.state = self.over(emit);
                } else {
                    self.workflow_failed(&why);
                }
                return;
            }
            Outcome::Succeeded => {}
        }
        if run.status.get() == Some("partial-succeeded") {
            let count = run.exceptions_count.or_zero();
            self.remark(&format!("the run succeeded although {count} of its nodes failed"));
        }
        self.workflow_ended = true;
        if self.mode == Mode::Workflow {
            self.outputs_of_workflow(&run, emit);
        } else {
            self.answer_of_chatflow(&run, emit);
        }
        // A chatflow that ran in Dify's API still says what it used; one in the worker has said that
        // already, and nothing if it was stopped.
        let has_more = self.mode != Mode::Workflow
            && !self.message_ended
            && (self.flow != FlowHost::Worker || run.status.get() == Some("succeeded"));
        if !has_more {
            self.state = self.over(emit);
        }
    }

    fn outputs_of_workflow(&mut self, run: &Workflow<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let total = run.total_tokens.or_zero();
        let Usage { prompt_tokens, completion_tokens, .. } = self.nodes;
        let total_tokens = total.max(prompt_tokens.saturating_add(completion_tokens));
        self.summary.usage = Some(Usage { prompt_tokens, completion_tokens, total_tokens });
        if !self.has_text {
            let outputs: Option<Value> = part(run.outputs);
            let answer = output(outputs.as_ref(), self.options.answer_output.as_deref());
            self.answer(&answer.unwrap_or_default(), emit);
        }
        self.files_of_workflow(run, emit);
    }

    /// The answer of a chatflow that no message has sent.
    fn answer_of_chatflow(&mut self, run: &Workflow<'_>, emit: &mut dyn FnMut(AppEvent)) {
        if !self.has_text {
            let outputs: Option<Value> = part(run.outputs);
            let answer = output(outputs.as_ref(), Some("answer"));
            self.answer(&answer.unwrap_or_default(), emit);
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
            FlowHost::Worker => self.fail(run_failed(why)),
            FlowHost::Unknown | FlowHost::Api => self.failure = Some(why.to_owned()),
        }
    }
}
