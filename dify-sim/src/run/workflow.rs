//! Runs of a workflow app. The blocking answer is 200 even for a run that failed.
//!
//! Of 1.5, `text_chunk` events (`Flow::Llm`) are made after Dify's source; there is no recording of
//! them.

use super::model::{self, Aside, REPLACEMENT};
use super::nodes::{Result as NodeResult, seconds};
use super::stage::{Halt, Outcome, Stage};
use super::steps::{ABORTED, STOPPED, Steps, used};
use super::turn::Turn;
use super::usage::Clock;
use super::{http, human, usage};
use crate::app::Flow;
use crate::db::{Filled, Node};
use crate::live::End as StreamEnd;
use crate::pyjson;
use crate::release::Release;

struct Play<'p, 's> {
    steps: Steps<'p, 's>,
}

/// How the nodes ended.
enum End {
    /// With these outputs, as JSON text.
    Done(String),
    /// The same, with a node that failed and was got over.
    GotOver(String),
    Failed(&'static str),
    Paused,
}

/// Plays the run, or what is left of it once this form was filled; `Outcome::Done` has the body of the blocking answer as its answer.
pub(super) async fn play(
    turn: &Turn,
    stage: &mut Stage<'_>,
    filled: Option<&Filled>,
) -> Result<Outcome, Halt> {
    let mut play = Play { steps: Steps::new(turn, stage) };
    let end = match filled {
        Some(filled) => play.resumed(filled).await,
        None => play.nodes().await,
    };
    play.ended(end).await
}

impl Play<'_, '_> {
    async fn ended(&mut self, end: Result<End, Halt>) -> Result<Outcome, Halt> {
        match end {
            Ok(_) if self.steps.stage.is_spoilt() => self.end("failed", "{}", ABORTED).await,
            Ok(End::Done(outputs)) => self.end("succeeded", &outputs, "").await,
            Ok(End::GotOver(outputs)) => self.end("partial-succeeded", &outputs, "").await,
            Ok(End::Failed(error)) => self.end("failed", "{}", error).await,
            Ok(End::Paused) => Ok(Outcome::Paused),
            Err(Halt::Stopped) => self.end("stopped", "{}", STOPPED).await,
            Err(Halt::Aborted) => self.end("failed", "{}", ABORTED).await,
            Err(Halt::Gone) => Err(Halt::Gone),
        }
    }

    async fn nodes(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let release = turn.release();
        self.steps.begin().await?;
        if release.speaks_before_start() {
            self.speak_first().await?;
        }
        let start = self.steps.start("start", "start", "Start", None).await?;
        if !release.speaks_before_start() {
            self.speak_first().await?;
        }
        self.steps.start_finish(&start).await?;
        self.steps.stage.pause(turn.shared.setup.pace.first_token).await?;
        let (_, text) = turn.asked_text();
        let before = match turn.flow() {
            Flow::Slow | Flow::SlowFirst => "slow",
            Flow::Llm => "llm",
            _ => "start",
        };
        let outputs = match turn.flow() {
            Flow::Failing => return self.fail().await,
            Flow::FailBranch | Flow::DefaultValue => return self.branch().await,
            Flow::HumanInput => return human::ask(&mut self.steps).await.map(|()| End::Paused),
            Flow::Slow | Flow::SlowFirst => outputs(turn, &self.slow(text).await?),
            Flow::Llm => match self.llm(text).await? {
                Ok(answer) => outputs(turn, &answer),
                Err(error) => return Ok(End::Failed(error)),
            },
            _ => outputs(turn, text),
        };
        self.end_node(("end", "End"), before, outputs).await
    }

    /// After the form: the comment is the one output.
    async fn resumed(&mut self, filled: &Filled) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let told = chunk_event(turn, &filled.comment, ["human", "comment"]);
        human::answer(&mut self.steps, filled, Some(told)).await?;
        let outputs = format!("{{\"comment\": {}}}", pyjson::quote(&filled.comment));
        self.end_node(("end", "End"), "human", outputs).await
    }

    /// An output that is an input streams before any node has run, since 1.12.
    async fn speak_first(&mut self) -> Result<(), Halt> {
        let turn = self.steps.turn;
        let echoes = matches!(turn.flow(), Flow::Echo | Flow::NoModel | Flow::Unpublished);
        if turn.release() == Release::V1_5 || !echoes {
            return Ok(());
        }
        let (name, text) = turn.asked_text();
        self.steps.stage.event(|| chunk_event(turn, text, ["start", &name])).await
    }

    async fn end_node(
        &mut self,
        (name, title): (&'static str, &'static str),
        before: &'static str,
        outputs: String,
    ) -> Result<End, Halt> {
        let end = self.steps.start(name, "end", title, Some(before)).await?;
        self.steps.finish(&end, &self.steps.result(&outputs, "null", &outputs)).await?;
        Ok(End::Done(outputs))
    }

    async fn slow(&mut self, text: &str) -> Result<String, Halt> {
        let turn = self.steps.turn;
        let release = turn.release();
        let node = self.steps.start("slow", "http-request", "Slow HTTP", Some("start")).await?;
        let time = Turn::slow_seconds(text);
        self.steps.stage.wait(turn.asked_time(time)).await?;
        let body = format!("slept {}", seconds(time));
        if release.is_restx() {
            self.steps.stage.event(|| chunk_event(turn, &body, ["slow", "body"])).await?;
        }
        let (process, outputs) = (http::slow_request(text), http::slow_outputs(&body, release));
        self.steps.finish(&node, &self.steps.result("null", &process, &outputs)).await?;
        Ok(body)
    }

    /// A model whose text streams through the end node, as `text_chunk` events.
    async fn llm(&mut self, text: &str) -> Result<Result<String, &'static str>, Halt> {
        let turn = self.steps.turn;
        let release = turn.release();
        let script = turn.script(text);
        let node = self.steps.start("llm", "llm", "LLM", Some("start")).await?;
        if script.asides.contains(&Aside::Reasoning) {
            for event in turn.reasoning_events() {
                self.steps.stage.event(|| event).await?;
            }
        }
        let selector = ["llm", "text"];
        let count = script.failure.map_or(script.tokens.len(), |failure| failure.after);
        for (at, token) in script.tokens.iter().take(count).enumerate() {
            if at > 0 {
                self.steps.stage.pause(turn.step(&script)).await?;
            }
            self.steps.stage.event(|| chunk_event(turn, token, selector)).await?;
        }
        if let Some(failure) = script.failure {
            let shown = model::shown(text, None, release);
            let result = self.steps.result(&shown.inputs, &shown.process_data, "{}");
            self.steps.fail(&node, result, failure.node).await?;
            return Ok(Err(failure.node));
        }
        if release.is_restx() {
            for _ in 0..2 {
                self.steps.stage.event(|| chunk_event(turn, "", selector)).await?;
            }
        }
        let mut answer = script.tokens.concat();
        if script.asides.contains(&Aside::Replacement) {
            REPLACEMENT.clone_into(&mut answer);
            let data = format!("{{\"text\": {}}}", pyjson::quote(&answer));
            self.steps.stage.event(|| turn.flow_event("text_replace", &data)).await?;
        }
        let (count, tokens) = used(count);
        let usage = usage::of(count, Clock::of_flow(release));
        let shown = model::shown(text, Some((&answer, &usage)), release);
        let metadata = usage::node_metadata(count);
        let result = NodeResult {
            metadata: &metadata,
            ..self.steps.result(&shown.inputs, &shown.process_data, &shown.outputs)
        };
        self.steps.finish(&node, &result).await?;
        for name in turn.app.app.outputs.iter().skip(1) {
            let text = further(name, &answer);
            self.steps.stage.event(|| chunk_event(turn, &text, [name, "text"])).await?;
        }
        self.steps.tokens = tokens;
        Ok(Ok(answer))
    }

    async fn bad(&mut self) -> Result<Node, Halt> {
        self.steps.start("bad", "http-request", "Bad HTTP", Some("start")).await
    }

    async fn fail(&mut self) -> Result<End, Halt> {
        let node = self.bad().await?;
        let process = http::bad_request();
        let result = self.steps.result("null", &process, "{}");
        self.steps.fail(&node, result, http::REFUSED).await?;
        Ok(End::Failed(http::REFUSED))
    }

    /// A node that fails and has a branch for that.
    async fn branch(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let node = self.bad().await?;
        let selector = ["bad", "error_message"];
        self.steps.stage.event(|| chunk_event(turn, http::REFUSED, selector)).await?;
        let process = http::bad_request();
        let outputs = format!("{{{}}}", http::failure_outputs());
        let result = http::got_over(&self.steps.result("null", &process, &outputs), "fail-branch");
        self.steps.finish(&node, &result).await?;
        let why = format!("{{\"why\": \"{}\"}}", http::REFUSED);
        self.end_node(("end2", "End 2"), "bad", why.clone()).await?;
        Ok(End::GotOver(why))
    }

    async fn end(
        &mut self,
        status: &'static str,
        outputs: &str,
        error: &str,
    ) -> Result<Outcome, Halt> {
        let turn = self.steps.turn;
        let finish = self.steps.end(status, outputs, error);
        let data = turn.flow_finished(&finish);
        let told = match error {
            "" if turn.release().is_restx() => "null".to_owned(),
            text => pyjson::quote(text),
        };
        let answer = format!(
            "{{\"task_id\": \"{}\", \"workflow_run_id\": \"{}\", \"data\": {{\"id\": \"{}\", \
             \"workflow_id\": \"{}\", \"status\": \"{status}\", \"outputs\": {outputs}, \
             \"error\": {told}, \"elapsed_time\": {}, \"total_tokens\": {}, \"total_steps\": {}, \
             \"created_at\": {}, \"finished_at\": {}}}}}",
            turn.task,
            turn.run,
            turn.run,
            turn.app.workflow_id,
            seconds(finish.elapsed),
            finish.tokens,
            finish.steps,
            turn.created_at,
            finish.finished_at
        );
        self.steps.stage.last_event(|| turn.flow_event("workflow_finished", &data)).await?;
        let end = if status == "stopped" { StreamEnd::AtOnce } else { StreamEnd::Lingering };
        let (usage, annotation) = (String::new(), String::new());
        Ok(Outcome::Done { answer, usage, annotation, end })
    }
}

fn chunk_event(turn: &Turn, text: &str, selector: [&str; 2]) -> String {
    let [node, name] = selector.map(pyjson::quote);
    let text = pyjson::quote(text);
    let data = format!("{{\"text\": {text}, \"from_variable_selector\": [{node}, {name}]}}");
    turn.flow_event("text_chunk", &data)
}

/// The outputs of the end node, as JSON text.
fn outputs(turn: &Turn, first: &str) -> String {
    let mut names = turn.app.app.outputs.iter();
    let name = names.next().map_or("out", String::as_str);
    let mut outputs = format!("{{{}: {}", pyjson::quote(name), pyjson::quote(first));
    for name in names {
        let text = pyjson::quote(&further(name, first));
        outputs.push_str(&format!(", {}: {text}", pyjson::quote(name)));
    }
    outputs.push('}');
    outputs
}

/// An output beside the first one.
fn further(name: &str, first: &str) -> String {
    format!("{name} of {first}")
}
