//! Runs of an advanced-chat app: the events of its flow, and `message` events in between.
//!
//! Constant text of the answer is sent before the nodes it stands behind have run, as Dify does.

use super::model::{self, Aside, REPLACEMENT};
use super::nodes::{Finish, Node, Result as NodeResult};
use super::stage::{Halt, Stage};
use super::turn::Turn;
use super::{Outcome, files, usage};
use crate::app::{Ending, Flow};
use crate::pyjson;
use crate::ran::RunEnd;
use crate::state::now;

/// The run as far as it got.
struct Play<'p, 's> {
    turn: &'p Turn,
    stage: &'p mut Stage<'s>,
    steps: u32,
    answer: String,
    tokens: u32,
    usage: String,
}

/// How the nodes ended.
enum End {
    /// `outputs.answer` of the flow.
    Answered(String),
    Failed(String),
}

pub(super) async fn play(turn: &Turn, stage: &mut Stage<'_>) -> Result<Outcome, Halt> {
    let mut play = Play {
        turn,
        stage,
        steps: 0,
        answer: String::new(),
        tokens: 0,
        usage: usage::NONE.to_owned(),
    };
    let end = match play.nodes().await {
        Ok(end) => end,
        Err(Halt::Stopped) => return play.stopped().await,
        Err(Halt::Gone) => return Err(Halt::Gone),
    };
    match end {
        End::Answered(output) => play.answered(&output).await,
        End::Failed(error) => play.failed(&error).await,
    }
}

impl Play<'_, '_> {
    async fn nodes(&mut self) -> Result<End, Halt> {
        let turn = self.turn;
        let shown = files::listed(turn, true);
        let started = turn.flow_inputs(&shown);
        self.stage
            .event(|| turn.flow_event("workflow_started", &turn.flow_started(&started)))
            .await?;
        let start = self.start("start", "start", "Start", None).await?;
        let hidden = turn.flow_inputs(&files::listed(turn, false));
        self.finish(&start, &hidden, "null", &started).await?;
        match turn.flow() {
            Flow::Slow => self.slow(true).await,
            Flow::SlowFirst => self.slow(false).await,
            Flow::Llm => self.llm().await,
            Flow::Failing => self.template().await,
            Flow::Files => self.files().await,
            Flow::Echo | Flow::NoModel | Flow::Unpublished => self.echo().await,
        }
    }

    async fn echo(&mut self) -> Result<End, Halt> {
        let turn = self.turn;
        let pace = turn.shared.setup.pace;
        self.stage.pause(pace.first_token).await?;
        self.say("You said: ", "[\"answer\", \"answer\"]").await?;
        self.stage.pause(pace.between_tokens).await?;
        self.say(&turn.query, "[\"sys\", \"query\"]").await?;
        self.answer_node("answer", "start", &self.answer.clone()).await
    }

    async fn files(&mut self) -> Result<End, Halt> {
        let turn = self.turn;
        let conversation = turn.conversation.to_string();
        let shown = files::markdown(turn);
        let words = [
            ("Files: ", "[\"answer\", \"answer\"]"),
            (&shown, "[\"sys\", \"files\"]"),
            (" q=", "[\"answer\", \"answer\"]"),
            (&turn.query, "[\"sys\", \"query\"]"),
            (" conv=", "[\"answer\", \"answer\"]"),
            (&conversation, "[\"sys\", \"conversation_id\"]"),
            (" user=", "[\"answer\", \"answer\"]"),
            (&turn.user, "[\"sys\", \"user_id\"]"),
        ];
        for (text, selector) in words {
            self.say(text, selector).await?;
        }
        self.answer_node("answer", "start", &self.answer.clone()).await
    }

    async fn slow(&mut self, speaks_first: bool) -> Result<End, Halt> {
        let mut before = "start";
        let mut outputs = Vec::new();
        if speaks_first {
            let text = "Before the wait.";
            self.say(text, "[\"a1\", \"answer\"]").await?;
            self.answer_node("a1", "start", text).await?;
            outputs.push(text.to_owned());
            before = "a1";
        }
        let text = if speaks_first { " After: " } else { "After: " };
        self.say(text, "[\"a2\", \"answer\"]").await?;
        let node = self.start("slow", "http-request", "Slow HTTP", Some(before)).await?;
        let seconds = Turn::slow_seconds(&self.turn.query);
        let wait = self.turn.asked_time(seconds);
        self.stage.wait(wait).await?;
        let body = format!("slept {}", super::nodes::seconds(seconds));
        let process = slow_request(&self.turn.query);
        self.finish(&node, "null", &process, &slow_outputs(&body)).await?;
        self.say(&body, "[\"slow\", \"body\"]").await?;
        outputs.push(format!("{text}{body}"));
        self.answer_node("a2", "slow", &format!("{text}{body}")).await?;
        Ok(End::Answered(outputs.join("\n").trim().to_owned()))
    }

    async fn llm(&mut self) -> Result<End, Halt> {
        let turn = self.turn;
        let pace = turn.shared.setup.pace;
        let script = turn.script(&turn.query);
        let node = self.start("llm", "llm", "LLM", Some("start")).await?;
        let process = model::process_data(&turn.query);
        self.stage.pause(pace.first_token).await?;
        if script.asides.contains(&Aside::Reasoning) {
            for event in turn.reasoning_events() {
                self.stage.event(|| event).await?;
            }
        }
        let step = turn.step(&script);
        let count = script.failure.map_or(script.tokens.len(), |failure| failure.after);
        for (at, token) in script.tokens.iter().take(count).enumerate() {
            if at > 0 {
                self.stage.pause(step).await?;
            }
            self.say(token, "[\"llm\", \"text\"]").await?;
        }
        if let Some(failure) = script.failure {
            return self.fail(&node, "{}", &process, failure.node).await;
        }
        self.say("", "[\"llm\", \"text\"]").await?;
        if script.asides.contains(&Aside::Picture) {
            self.stage.event(|| turn.picture_event()).await?;
        }
        if script.asides.contains(&Aside::Replacement) {
            REPLACEMENT.clone_into(&mut self.answer);
            self.stage.event(|| turn.replace_event(REPLACEMENT)).await?;
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX - usage::PROMPT_TOKENS);
        self.usage = usage::of(count);
        self.tokens = count + usage::PROMPT_TOKENS;
        let outputs = model::outputs(&self.answer, &self.usage);
        let metadata = usage::node_metadata(count);
        let result = NodeResult {
            inputs: "{}",
            process_data: &process,
            outputs: &outputs,
            error: None,
            elapsed: self.stage.elapsed(),
            metadata: &metadata,
            files: "[]",
            finished_at: now(),
        };
        self.stage.event(|| turn.flow_event("node_finished", &node.finished(&result))).await?;
        self.answer_node("answer", "llm", &self.answer.clone()).await
    }

    async fn template(&mut self) -> Result<End, Halt> {
        let node = self.start("tmpl", "template-transform", "Template", Some("start")).await?;
        let inputs = format!("{{\"arg1\": {}}}", pyjson::quote(&self.turn.query));
        let error = "Failed to execute code, which is likely a network issue, please check if \
            the sandbox service is running. ( Error: [Errno 111] Connection refused )";
        self.fail(&node, &inputs, "null", error).await
    }

    /// A piece of the answer.
    async fn say(&mut self, text: &str, selector: &str) -> Result<(), Halt> {
        let turn = self.turn;
        self.stage.event(|| turn.message_event(text, selector)).await?;
        self.answer.push_str(text);
        Ok(())
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
        let files = match node.node {
            "start" => files::listed(self.turn, true),
            _ => "[]".to_owned(),
        };
        let result = NodeResult {
            inputs,
            process_data,
            outputs,
            error: None,
            elapsed,
            metadata: "{}",
            files: &files,
            finished_at: now(),
        };
        let turn = self.turn;
        self.stage.event(|| turn.flow_event("node_finished", &node.finished(&result))).await
    }

    async fn fail(
        &mut self,
        node: &Node,
        inputs: &str,
        process_data: &str,
        error: &str,
    ) -> Result<End, Halt> {
        let result = NodeResult {
            inputs,
            process_data,
            outputs: "{}",
            error: Some(error),
            elapsed: self.stage.elapsed(),
            metadata: "{}",
            files: "[]",
            finished_at: now(),
        };
        let turn = self.turn;
        self.stage.event(|| turn.flow_event("node_finished", &node.finished(&result))).await?;
        Ok(End::Failed(error.to_owned()))
    }

    /// An answer node, from start to finish.
    async fn answer_node(
        &mut self,
        name: &'static str,
        before: &'static str,
        text: &str,
    ) -> Result<End, Halt> {
        let node = self.start(name, "answer", "Answer", Some(before)).await?;
        let files = if self.turn.flow() == Flow::Files {
            files::listed(self.turn, true)
        } else {
            "[]".to_owned()
        };
        let outputs = format!("{{\"answer\": {}, \"files\": {files}}}", pyjson::quote(text));
        self.finish(&node, "null", "null", &outputs).await?;
        Ok(End::Answered(text.trim().to_owned()))
    }

    async fn answered(&mut self, output: &str) -> Result<Outcome, Halt> {
        let turn = self.turn;
        let outputs = format!("{{\"answer\": {}}}", pyjson::quote(output));
        let finish = self.finish_data("succeeded", &outputs, "");
        turn.save_answer(&self.answer);
        let finished = turn.flow_event("workflow_finished", &finish);
        let ended = turn.end_event(&self.usage, "[]");
        let events = match turn.app.app.ending {
            Ending::MessageEnd => [finished, ended],
            Ending::WorkflowFinished => [ended, finished],
        };
        for event in events {
            self.stage.last_event(|| event).await?;
        }
        Ok(self.done())
    }

    async fn failed(&mut self, error: &str) -> Result<Outcome, Halt> {
        let turn = self.turn;
        let message = format!("Run failed: {error}");
        let finish = self.finish_data("failed", "{}", error);
        turn.save_error(&message);
        self.stage.last_event(|| turn.flow_event("workflow_finished", &finish)).await?;
        self.stage.last_event(|| turn.error_event("invalid_param", &message)).await?;
        Ok(Outcome::Failed { code: "invalid_param", message })
    }

    async fn stopped(&mut self) -> Result<Outcome, Halt> {
        let turn = self.turn;
        turn.note(RunEnd::Stopped);
        let finish = self.finish_data("stopped", "{}", "Stopped by user.");
        turn.save_answer(&self.answer);
        self.stage.last_event(|| turn.flow_event("workflow_finished", &finish)).await?;
        self.stage.last_event(|| turn.end_event(usage::NONE, "[]")).await?;
        Ok(self.done())
    }

    fn done(&mut self) -> Outcome {
        Outcome::Done {
            answer: std::mem::take(&mut self.answer),
            usage: std::mem::take(&mut self.usage),
        }
    }

    fn finish_data(&self, status: &str, outputs: &str, error: &str) -> String {
        self.turn.flow_finished(&Finish {
            status,
            outputs,
            error,
            elapsed: self.stage.elapsed(),
            tokens: if status == "succeeded" { self.tokens } else { 0 },
            steps: self.steps,
            finished_at: now(),
        })
    }
}

/// `process_data` of the node that waits; the number stands in its path.
pub(super) fn slow_request(seconds: &str) -> String {
    let request = format!("GET /slow/{seconds} HTTP/1.1\r\nHost: 127.0.0.1:58080\r\n\r\n");
    format!("{{\"request\": {}}}", pyjson::quote(&request))
}

/// `outputs` of the node that waits.
pub(super) fn slow_outputs(body: &str) -> String {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    format!(
        "{{\"status_code\": 200, \"body\": \"{body}\", \"headers\": {{\"server\": \
         \"BaseHTTP/0.6 Python/3.11.7\", \"date\": \"{date}\", \"content-type\": \"text/plain\", \
         \"content-length\": \"{}\"}}, \"files\": []}}",
        body.len()
    )
}
