//! A run of a chatflow as far as it got, and its answer.

use crate::app::Flow;
use crate::db::Node;
use crate::pyjson;
use crate::run::flow_files;
use crate::run::nodes::Result as NodeResult;
use crate::run::stage::{Halt, Stage};
use crate::run::steps::Steps;
use crate::run::turn::Turn;
use crate::run::usage::{self, Clock};

/// The run as far as it got.
pub(super) struct Play<'p, 's> {
    pub(super) steps: Steps<'p, 's>,
    pub(super) answer: String,
    /// `outputs.answer` so far: what answer nodes gave that have ended.
    pub(super) output: Option<String>,
    pub(super) usage: String,
}

/// How the nodes ended.
pub(super) enum End {
    /// All have run.
    Answered,
    /// The same, with a node that failed and was got over.
    GotOver,
    Failed(String),
    /// At a node that waits for a human.
    Paused,
}

impl<'p, 's> Play<'p, 's> {
    pub(super) fn new(turn: &'p Turn, stage: &'p mut Stage<'s>) -> Self {
        Self {
            steps: Steps::new(turn, stage),
            answer: String::new(),
            output: None,
            usage: usage::none(Clock::of_flow(turn.release())),
        }
    }

    /// A piece of the answer.
    pub(super) async fn say(&mut self, text: &str, selector: &str) -> Result<(), Halt> {
        let turn = self.steps.turn;
        self.steps.stage.event(|| turn.message_event(text, selector)).await?;
        self.answer.push_str(text);
        Ok(())
    }

    /// An answer node, from start to finish.
    pub(super) async fn answer_node(
        &mut self,
        name: &'static str,
        before: &'static str,
        text: &str,
    ) -> Result<End, Halt> {
        let node = self.steps.start(name, "answer", "Answer", Some(before)).await?;
        self.answer_finish(&node, text).await?;
        Ok(End::Answered)
    }

    pub(super) async fn answer_finish(&mut self, node: &Node, text: &str) -> Result<(), Halt> {
        let turn = self.steps.turn;
        let files = if turn.flow() == Flow::Files {
            flow_files::listed(turn, flow_files::Url::Now)
        } else {
            "[]".to_owned()
        };
        let shown = if turn.flow() == Flow::Files && turn.release().is_restx() {
            flow_files::resigned(turn, text)
        } else {
            text.to_owned()
        };
        let outputs = format!("{{\"answer\": {}, \"files\": {files}}}", pyjson::quote(&shown));
        let given = if turn.release().is_restx() { files.as_str() } else { "[]" };
        let result = NodeResult { files: given, ..self.steps.result("null", "null", &outputs) };
        self.steps.finish(node, &result).await?;
        match &mut self.output {
            // Later releases join the texts of answer nodes as they are.
            Some(output) if turn.release().is_restx() => output.push_str(text),
            Some(output) => *output = format!("{output}\n{text}"),
            None => self.output = Some(text.to_owned()),
        }
        Ok(())
    }
}
