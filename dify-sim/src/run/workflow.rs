//! Runs of a workflow app. The blocking answer is 200 even for a run that failed.
//!
//! `text_chunk` events (`Flow::Llm`) are made after Dify's source; there is no recording of them.

use super::chatflow::{slow_outputs, slow_request};
use super::model::{self, Aside, REPLACEMENT};
use super::nodes::{Finish, Node, Result as NodeResult, seconds};
use super::stage::{Halt, Stage};
use super::turn::Turn;
use super::usage;
use crate::app::Flow;
use crate::db::Run;
use crate::pyjson;
use crate::ran::RunEnd;
use crate::state::now;
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
        let text = asked_text(turn);
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
        let outputs = outputs(turn, &out);
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
        let script = turn.script(text);
        let node = self.start("llm", "llm", "LLM", Some("start")).await?;
        let process = model::process_data(text);
        if script.asides.contains(&Aside::Reasoning) {
            for event in turn.reasoning_events() {
                self.stage.event(|| event).await?;
            }
        }
        let count = script.failure.map_or(script.tokens.len(), |failure| failure.after);
        for (at, token) in script.tokens.iter().take(count).enumerate() {
            if at > 0 {
                self.stage.pause(turn.step(&script)).await?;
            }
            self.stage.event(|| chunk_event(turn, token, "llm")).await?;
        }
        let failed = script.failure.map(|failure| failure.node);
        let mut answer = script.tokens.concat();
        if failed.is_none() && script.asides.contains(&Aside::Replacement) {
            REPLACEMENT.clone_into(&mut answer);
            let data = format!("{{\"text\": {}}}", pyjson::quote(&answer));
            self.stage.event(|| turn.flow_event("text_replace", &data)).await?;
        }
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
        for name in turn.app.app.outputs.iter().skip(1) {
            self.stage.event(|| chunk_event(turn, &further(name, &answer), name)).await?;
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

fn chunk_event(turn: &Turn, text: &str, node: &str) -> String {
    let (text, node) = (pyjson::quote(text), pyjson::quote(node));
    let data = format!("{{\"text\": {text}, \"from_variable_selector\": [{node}, \"text\"]}}");
    turn.flow_event("text_chunk", &data)
}

/// The text of the first field of the form that takes one.
fn asked_text(turn: &Turn) -> &str {
    let fields = turn.app.app.fields();
    let texts = fields.iter().filter(|field| !field.is_file());
    let mut values = texts.filter_map(|field| turn.inputs.get(&field.name)?.as_str());
    values.next().unwrap_or_default()
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
    turn.note(match status {
        "succeeded" => RunEnd::Succeeded,
        "stopped" => RunEnd::Stopped,
        _ => RunEnd::Failed,
    });
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
