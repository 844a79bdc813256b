//! Runs of a workflow app. The blocking answer is 200 even for a run that failed.
//!
//! `text_chunk` events (`Flow::Llm`) are made after Dify's source; there is no recording of them.

use super::chatflow::{slow_outputs, slow_request};
use super::nodes::{Finish, Node, Result as NodeResult, seconds};
use super::stage::{Halt, Stage};
use super::turn::Turn;
use super::{model, usage};
use crate::db::Run;
use crate::pyjson;
use crate::setup::Flow;
use crate::state::now;
use serde_json::Value;
use uuid::Uuid;

struct Play<'p, 's> {
    turn: &'p Turn,
    stage: &'p mut Stage<'s>,
    steps: u32,
    tokens: u32,
}

/// Plays the run and gives the body of the blocking answer.
pub(super) async fn play(turn: &Turn, stage: &mut Stage<'_>) -> Result<String, Halt> {
    let inputs = turn.flow_inputs("[]");
    store(turn, &inputs);
    let mut play = Play { turn, stage, steps: 0, tokens: 0 };
    match play.nodes(&inputs).await {
        Ok(Ok(outputs)) => play.end("succeeded", &outputs, "").await,
        Ok(Err(error)) => play.end("failed", "{}", error).await,
        Err(Halt::Stopped) => play.end("stopped", "{}", "Stopped by user.").await,
        Err(Halt::Gone) => Err(Halt::Gone),
    }
}

impl Play<'_, '_> {
    async fn nodes(&mut self, inputs: &str) -> Result<Result<String, &'static str>, Halt> {
        let turn = self.turn;
        let pace = turn.shared.setup.pace;
        self.stage
            .event(|| turn.flow_event("workflow_started", &turn.flow_started(inputs)))
            .await?;
        let start = self.start("start", "start", "Start", None).await?;
        self.finish(&start, inputs, "null", inputs).await?;
        self.stage.pause(pace.first_token).await?;
        let text = turn.inputs.get("text").and_then(Value::as_str).unwrap_or_default();
        let (out, before) = match turn.flow() {
            Flow::Failing => return self.fail().await,
            Flow::Slow | Flow::SlowFirst => (self.slow(text).await?, "slow"),
            Flow::Llm => match self.llm(text).await? {
                Ok(answer) => (answer, "llm"),
                Err(error) => return Ok(Err(error)),
            },
            _ => (text.to_owned(), "start"),
        };
        let end = self.start("end", "end", "End", Some(before)).await?;
        let outputs = format!("{{\"out\": {}}}", pyjson::quote(&out));
        self.finish(&end, &outputs, "null", &outputs).await?;
        Ok(Ok(outputs))
    }

    async fn slow(&mut self, text: &str) -> Result<String, Halt> {
        let node = self.start("slow", "http-request", "Slow HTTP", Some("start")).await?;
        let time = Turn::slow_seconds(text);
        let wait = self.turn.asked_time(time);
        self.stage.wait(wait).await?;
        let body = format!("slept {}", seconds(time));
        self.finish(&node, "null", &slow_request(text), &slow_outputs(&body)).await?;
        Ok(body)
    }

    /// A model whose text streams through the end node, as `text_chunk` events.
    async fn llm(&mut self, text: &str) -> Result<Result<String, &'static str>, Halt> {
        let turn = self.turn;
        let script = model::script(text);
        let node = self.start("llm", "llm", "LLM", Some("start")).await?;
        let process = model::process_data(text);
        let count = script.failure.map_or(script.tokens.len(), |failure| failure.after);
        for (at, token) in script.tokens.iter().take(count).enumerate() {
            if at > 0 {
                self.stage.pause(turn.step(&script)).await?;
            }
            self.stage.event(|| chunk_event(turn, token)).await?;
        }
        let failed = script.failure.map(|failure| failure.node);
        let answer = script.tokens.concat();
        let count = u32::try_from(count).unwrap_or(u32::MAX - usage::PROMPT_TOKENS);
        let (outputs, metadata) = match failed {
            Some(_) => ("{}".to_owned(), "{}".to_owned()),
            None => (model::outputs(&answer, &usage::of(count)), usage::node_metadata(count)),
        };
        let result = NodeResult {
            inputs: "{}",
            process_data: &process,
            outputs: &outputs,
            error: failed,
            elapsed: self.stage.elapsed(),
            metadata: &metadata,
            files: "[]",
            finished_at: now(),
        };
        self.stage.event(|| turn.flow_event("node_finished", &node.finished(&result))).await?;
        if let Some(error) = failed {
            return Ok(Err(error));
        }
        self.tokens = count + usage::PROMPT_TOKENS;
        Ok(Ok(answer))
    }

    async fn fail(&mut self) -> Result<Result<String, &'static str>, Halt> {
        let turn = self.turn;
        let node = self.start("bad", "http-request", "Bad HTTP", Some("start")).await?;
        let request = pyjson::quote("GET / HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n");
        let error = "[Errno 111] Connection refused";
        let result = NodeResult {
            inputs: "null",
            process_data: &format!("{{\"request\": {request}}}"),
            outputs: "{}",
            error: Some(error),
            elapsed: self.stage.elapsed(),
            metadata: "{}",
            files: "[]",
            finished_at: now(),
        };
        self.stage.event(|| turn.flow_event("node_finished", &node.finished(&result))).await?;
        Ok(Err(error))
    }

    async fn start(
        &mut self,
        name: &'static str,
        kind: &'static str,
        title: &'static str,
        before: Option<&'static str>,
    ) -> Result<Node, Halt> {
        self.steps += 1;
        let turn = self.turn;
        let node = Turn::node(name, kind, title, self.steps, before);
        self.stage.event(|| turn.flow_event("node_started", &node.started())).await?;
        Ok(node)
    }

    async fn finish(
        &mut self,
        node: &Node,
        inputs: &str,
        process_data: &str,
        outputs: &str,
    ) -> Result<(), Halt> {
        let elapsed = self.stage.elapsed();
        let result = NodeResult {
            inputs,
            process_data,
            outputs,
            error: None,
            elapsed,
            metadata: "{}",
            files: "[]",
            finished_at: now(),
        };
        let turn = self.turn;
        self.stage.event(|| turn.flow_event("node_finished", &node.finished(&result))).await
    }

    async fn end(
        &mut self,
        status: &'static str,
        outputs: &str,
        error: &str,
    ) -> Result<String, Halt> {
        let turn = self.turn;
        let finish = Finish {
            status,
            outputs,
            error,
            elapsed: self.stage.elapsed(),
            tokens: if status == "succeeded" { self.tokens } else { 0 },
            steps: self.steps,
            finished_at: now(),
        };
        save(turn, &finish, status);
        let data = turn.flow_finished(&finish);
        self.stage.last_event(|| turn.flow_event("workflow_finished", &data)).await?;
        Ok(format!(
            "{{\"task_id\": \"{}\", \"workflow_run_id\": \"{}\", \"data\": {{\"id\": \"{}\", \
             \"workflow_id\": \"{}\", \"status\": \"{status}\", \"outputs\": {outputs}, \
             \"error\": {}, \"elapsed_time\": {}, \"total_tokens\": {}, \"total_steps\": {}, \
             \"created_at\": {}, \"finished_at\": {}}}}}",
            turn.task,
            turn.run,
            turn.run,
            turn.app.workflow_id,
            pyjson::quote(error),
            seconds(finish.elapsed),
            finish.tokens,
            finish.steps,
            turn.created_at,
            finish.finished_at
        ))
    }
}

fn chunk_event(turn: &Turn, text: &str) -> String {
    let text = pyjson::quote(text);
    let data = format!("{{\"text\": {text}, \"from_variable_selector\": [\"llm\", \"text\"]}}");
    turn.flow_event("text_chunk", &data)
}

fn store(turn: &Turn, inputs: &str) {
    let row = Run {
        app: turn.app.id,
        workflow: turn.app.workflow_id,
        published: turn.app.published.clone(),
        user: turn.user.clone(),
        user_id: turn.user_id,
        inputs: inputs.to_owned(),
        outputs: None,
        status: "running",
        error: None,
        steps: 0,
        tokens: 0,
        created_at: turn.created_at,
        finished_at: None,
        elapsed: 0.0,
        log: None,
    };
    turn.shared.db().runs.insert(turn.run, row, 2 * inputs.len());
}

fn save(turn: &Turn, finish: &Finish<'_>, status: &'static str) {
    if let Some(row) = turn.shared.db().runs.get_mut(turn.run) {
        row.status = status;
        row.outputs = Some(finish.outputs.to_owned());
        row.error = (!finish.error.is_empty()).then(|| finish.error.to_owned());
        row.steps = finish.steps;
        row.tokens = finish.tokens;
        row.elapsed = finish.elapsed;
        row.finished_at = Some(finish.finished_at);
        row.log = Some((Uuid::new_v4(), finish.finished_at));
    }
}
