//! Runs of an advanced-chat app: the events of its flow, and `message` events in between.
//!
//! Constant text of the answer is sent before the nodes it stands behind have run, as Dify does.

mod nodes;
mod play;
mod rounds;

use super::stage::{Halt, Outcome, Stage};
use super::steps::{ABORTED, STOPPED};
use super::turn::Turn;
use super::usage::Clock;
use super::{flow_files, human, preempt, usage};
use crate::app::{Ending, Flow};
use crate::db::Filled;
use crate::live::End as StreamEnd;
use crate::pyjson;
use crate::release::Release;
use play::{End, Play};

/// Plays the run, or what is left of it once this form was filled.
pub(super) async fn play(
    turn: &Turn,
    stage: &mut Stage<'_>,
    filled: Option<&Filled>,
) -> Result<Outcome, Halt> {
    if filled.is_none()
        && let Some(reply) = preempt::reply(turn)
    {
        return preempted(turn, stage, reply).await;
    }
    let mut play = Play::new(turn, stage);
    let end = match filled {
        Some(filled) => play.resumed(filled).await,
        None => play.nodes().await,
    };
    play.ended(end).await
}

/// A moderated question or one with an annotation: no node runs.
async fn preempted(
    turn: &Turn,
    stage: &mut Stage<'_>,
    reply: preempt::Reply,
) -> Result<Outcome, Halt> {
    let usage = usage::none(Clock::of_flow(turn.release()));
    turn.save_answer(&reply.answer);
    stage.event(|| turn.message_event(&reply.answer, "null")).await?;
    // The stream of an annotated answer does not say so.
    let metadata = match reply.annotation {
        Some(_) => format!("{{\"retriever_resources\": [], \"usage\": {usage}}}"),
        None => usage::metadata(&usage, "[]", "null"),
    };
    stage.last_event(|| turn.end_event_of(&metadata, "[]")).await?;
    let annotation = reply.annotation.unwrap_or_else(|| "null".to_owned());
    Ok(Outcome::Done { answer: reply.answer, usage, annotation, end: StreamEnd::Open })
}

impl Play<'_, '_> {
    async fn ended(&mut self, end: Result<End, Halt>) -> Result<Outcome, Halt> {
        match end {
            Ok(_) if self.steps.stage.is_spoilt() => self.aborted().await,
            Ok(End::Answered) => self.answered("succeeded").await,
            Ok(End::GotOver) => self.answered("partial-succeeded").await,
            Ok(End::Failed(error)) => self.failed(&error).await,
            Ok(End::Paused) => Ok(Outcome::Paused),
            Err(Halt::Stopped) => self.stopped().await,
            Err(Halt::Aborted) => self.aborted().await,
            Err(Halt::Gone) => Err(Halt::Gone),
        }
    }

    async fn nodes(&mut self) -> Result<End, Halt> {
        let release = self.steps.turn.release();
        self.steps.begin().await?;
        if release.speaks_before_start() {
            self.speak_first().await?;
        }
        let start = self.steps.start("start", "start", "Start", None).await?;
        if release.is_restx() && !release.speaks_before_start() {
            self.speak_first().await?;
        }
        self.steps.start_finish(&start).await?;
        if release == Release::V1_5 {
            self.speak_first().await?;
        }
        match self.steps.turn.flow() {
            Flow::Slow | Flow::SlowFirst => self.slow().await,
            Flow::Llm => self.llm().await,
            Flow::Failing => self.template().await,
            Flow::HumanInput => human::ask(&mut self.steps).await.map(|()| End::Paused),
            Flow::Iteration | Flow::Loop | Flow::Parallel => self.rounds().await,
            Flow::Retry => self.bad(Some(2)).await,
            Flow::DefaultValue | Flow::FailBranch => self.bad(None).await,
            Flow::Files | Flow::Echo | Flow::Greeting | Flow::NoModel | Flow::Unpublished => {
                let text = self.answer.clone();
                self.answer_node("answer", "start", &text).await
            }
        }
    }

    /// `outputs` of the whole flow, as JSON text.
    fn outputs(&self) -> String {
        let turn = self.steps.turn;
        let later = turn.release().is_restx();
        match &self.output {
            None if later => "{}".to_owned(),
            output => {
                let text = output.as_deref().unwrap_or_default();
                let text = pyjson::quote(if later { text } else { text.trim() });
                if !later {
                    return format!("{{\"answer\": {text}}}");
                }
                let files = match turn.flow() {
                    Flow::Files => flow_files::listed(turn, flow_files::Url::Now),
                    _ => "[]".to_owned(),
                };
                format!("{{\"answer\": {text}, \"files\": {files}}}")
            }
        }
    }

    async fn answered(&mut self, status: &'static str) -> Result<Outcome, Halt> {
        let turn = self.steps.turn;
        let outputs = self.outputs();
        let mut finish = self.steps.end(status, &outputs, "");
        turn.save_answer(&self.answer);
        let files = match turn.flow() {
            Flow::Files if turn.release().is_restx() => {
                flow_files::listed(turn, flow_files::Url::Now)
            }
            _ => "[]".to_owned(),
        };
        let ended = turn.end_event(&self.usage, &files);
        finish.files = files;
        let finished = turn.flow_event("workflow_finished", &turn.flow_finished(&finish));
        let message_first = match turn.app.app.ending {
            Ending::OfRelease => turn.release().ends_messages_first(),
            Ending::MessageEnd => false,
            Ending::WorkflowFinished => true,
        };
        let events = if message_first { [ended, finished] } else { [finished, ended] };
        for event in events {
            self.steps.stage.last_event(|| event).await?;
        }
        Ok(self.done(StreamEnd::Lingering))
    }

    async fn failed(&mut self, error: &str) -> Result<Outcome, Halt> {
        let turn = self.steps.turn;
        let message = format!("Run failed: {error}");
        let finish = turn.flow_finished(&self.steps.end("failed", "{}", error));
        turn.save_error(&message);
        self.steps.stage.last_event(|| turn.flow_event("workflow_finished", &finish)).await?;
        if turn.release().ends_failed_flows_with_error() {
            let event = turn.error_event("invalid_param", &message);
            self.steps.stage.last_event(|| event).await?;
        }
        Ok(Outcome::Failed { code: "invalid_param", message })
    }

    async fn stopped(&mut self) -> Result<Outcome, Halt> {
        let turn = self.steps.turn;
        let outputs = if turn.release().is_restx() { self.outputs() } else { "{}".to_owned() };
        let finish = turn.flow_finished(&self.steps.end("stopped", &outputs, STOPPED));
        turn.save_answer(&self.answer);
        self.steps.stage.last_event(|| turn.flow_event("workflow_finished", &finish)).await?;
        if turn.release().ends_stopped_flows_with_message() {
            let usage = usage::none(Clock::of_flow(turn.release()));
            self.steps.stage.last_event(|| turn.end_event(&usage, "[]")).await?;
        }
        Ok(self.done(StreamEnd::AtOnce))
    }

    /// Stopped by somebody else.
    async fn aborted(&mut self) -> Result<Outcome, Halt> {
        let turn = self.steps.turn;
        let outputs = self.outputs();
        let finish = turn.flow_finished(&self.steps.end("failed", &outputs, ABORTED));
        turn.save_answer(&self.answer);
        self.steps.stage.last_event(|| turn.flow_event("workflow_finished", &finish)).await?;
        if turn.release().ends_failed_flows_with_error() {
            let message = format!("Run failed: {ABORTED}");
            let event = turn.error_event("invalid_param", &message);
            self.steps.stage.last_event(|| event).await?;
        }
        Ok(self.done(StreamEnd::AtOnce))
    }

    fn done(&mut self, end: StreamEnd) -> Outcome {
        Outcome::Done {
            answer: std::mem::take(&mut self.answer),
            usage: std::mem::take(&mut self.usage),
            annotation: "null".to_owned(),
            end,
        }
    }
}
