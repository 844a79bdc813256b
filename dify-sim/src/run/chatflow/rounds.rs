//! Chatflows whose nodes run in rounds or side by side, and nodes that fail and are got over.

use super::play::{End, Play};
use crate::app::Flow;
use crate::clock::now;
use crate::db::Node;
use crate::pyjson;
use crate::run::nodes::{Result as NodeResult, seconds};
use crate::run::stage::Halt;
use crate::run::turn::Turn;
use crate::run::usage::Clock;
use crate::run::{flow_files, http, model, usage};
use std::time::Duration;

/// Rounds of the loop.
const ROUNDS: u32 = 3;

impl Play<'_, '_> {
    pub(super) async fn rounds(&mut self) -> Result<End, Halt> {
        match self.steps.turn.flow() {
            Flow::Iteration => self.iterate().await,
            Flow::Loop => self.repeat().await,
            _ => self.both().await,
        }
    }

    /// A model call inside a round.
    async fn inner(&mut self, node: Node, prompt: &str, at: u32) -> Result<String, Halt> {
        let turn = self.steps.turn;
        let release = turn.release();
        let (event, count) = (node.started(release), self.steps.count);
        self.steps.stage.event(|| turn.flow_event("node_started", &event)).await?;
        self.steps.count = count;
        let answer = format!("Echo: {prompt}");
        let tokens = u32::try_from(answer.split(' ').count()).unwrap_or(1);
        let usage = usage::of(tokens, Clock::of_flow(release));
        let shown = model::shown(prompt, Some((&answer, &usage)), release);
        let (kind, id) = node.within.unwrap_or_default();
        let metadata = usage::node_metadata(tokens);
        let metadata = format!(
            "{}, \"{kind}_id\": \"{id}\", \"{kind}_index\": {at}}}",
            metadata.trim_end_matches('}')
        );
        let result = NodeResult {
            metadata: &metadata,
            ..self.steps.result(&shown.inputs, &shown.process_data, &shown.outputs)
        };
        let event = node.finished(&result, release);
        self.steps.stage.event(|| turn.flow_event("node_finished", &event)).await?;
        self.steps.tokens += tokens + usage::PROMPT_TOKENS;
        Ok(answer)
    }

    fn node(
        &self,
        name: &'static str,
        kind: &'static str,
        within: (&'static str, &'static str),
    ) -> Node {
        let node = Turn::node(name, kind, name, 1, None);
        Node { within: Some(within), ..node }
    }

    /// A model call for each file.
    async fn iterate(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let started = now();
        let head = "\"id\": \"iter\", \"node_id\": \"iter\", \"node_type\": \"iteration\", \"title\": \
            \"Iteration\"";
        let items = turn.files.len();
        let list = flow_files::listed(turn, flow_files::Url::Absent);
        let inputs = format!("{{\"iterator_selector\": {list}}}");
        let data = format!(
            "{{{head}, \"created_at\": {started}, \"extras\": {{}}, \"metadata\": {{\"iteration_length\": \
             {items}}}, \"inputs\": {inputs}, \"inputs_truncated\": false}}"
        );
        self.steps.stage.event(|| turn.flow_event("iteration_started", &data)).await?;
        let (mut answers, mut times) = (Vec::new(), Vec::new());
        for at in 0..u32::try_from(items).unwrap_or(0) {
            let data =
                format!("{{{head}, \"index\": {at}, \"created_at\": {}, \"extras\": {{}}}}", now());
            self.steps.stage.event(|| turn.flow_event("iteration_next", &data)).await?;
            let node = self.node("inllm", "llm", ("iteration", "iter"));
            answers.push(self.inner(node, &format!("item {at}"), at).await?);
            times.push(format!("\"{at}\": {}", seconds(0.001)));
        }
        let quoted: Vec<String> = answers.iter().map(|text| pyjson::quote(text)).collect();
        let calls = u32::try_from(items).unwrap_or(0);
        let data = format!(
            "{{{head}, \"outputs\": {{\"output\": [{}]}}, \"outputs_truncated\": false, \"created_at\": \
             {started}, \"extras\": {{}}, \"inputs\": {inputs}, \"inputs_truncated\": false, {}, \
             \"execution_metadata\": {{{}, \"iteration_duration_map\": {{{}}}}}, \"finished_at\": {}, \
             \"steps\": {items}}}",
            quoted.join(", "),
            self.round_end(),
            self.cost(calls),
            times.join(", "),
            now()
        );
        self.steps.stage.event(|| turn.flow_event("iteration_completed", &data)).await?;
        self.steps.count += 1;
        self.say("Done ", "[\"answer\", \"answer\"]").await?;
        let lines: Vec<String> = answers.iter().map(|text| format!("- {text}")).collect();
        self.say(&lines.join("\n"), "[\"iter\", \"output\"]").await?;
        self.double_usage(calls, 3 * calls);
        let text = self.answer.clone();
        self.answer_node("answer", "iter", &text).await
    }

    /// The same model call several times.
    async fn repeat(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let started = now();
        let head =
            "\"id\": \"loop\", \"node_id\": \"loop\", \"node_type\": \"loop\", \"title\": \"Loop\"";
        let inputs = format!("{{\"loop_count\": {ROUNDS}}}");
        let data = format!(
            "{{{head}, \"created_at\": {started}, \"extras\": {{}}, \"metadata\": {{\"loop_length\": \
             {ROUNDS}}}, \"inputs\": {inputs}, \"inputs_truncated\": false}}"
        );
        self.steps.stage.event(|| turn.flow_event("loop_started", &data)).await?;
        let (mut times, mut variables) = (Vec::new(), Vec::new());
        for at in 0..ROUNDS {
            let node = self.node("loopllm", "llm", ("loop", "loop"));
            self.inner(node, "again", at).await?;
            let data = format!(
                "{{{head}, \"index\": {}, \"created_at\": {}, \"pre_loop_output\": {{}}, \"extras\": {{}}}}",
                at + 1,
                now()
            );
            self.steps.stage.event(|| turn.flow_event("loop_next", &data)).await?;
            times.push(format!("\"{at}\": {}", seconds(0.001)));
            variables.push(format!("\"{at}\": {{}}"));
        }
        let data = format!(
            "{{{head}, \"outputs\": {{\"loop_round\": {ROUNDS}}}, \"outputs_truncated\": false, \
             \"created_at\": {started}, \"extras\": {{}}, \"inputs\": {inputs}, \"inputs_truncated\": \
             false, {}, \"execution_metadata\": {{{}, \"loop_duration_map\": {{{}}}, \
             \"loop_variable_map\": {{{}}}, \"completed_reason\": \"loop_completed\"}}, \
             \"finished_at\": {}, \"steps\": {ROUNDS}}}",
            self.round_end(),
            self.cost(ROUNDS),
            times.join(", "),
            variables.join(", "),
            now()
        );
        self.steps.stage.event(|| turn.flow_event("loop_completed", &data)).await?;
        self.steps.count += 1;
        self.say("Looped.", "[\"answer\", \"answer\"]").await?;
        self.double_usage(ROUNDS, 2 * ROUNDS);
        self.answer_node("answer", "loop", "Looped.").await
    }

    /// `status` to `total_tokens` of an iteration or loop.
    fn round_end(&self) -> String {
        format!(
            "\"status\": \"succeeded\", \"error\": null, \"elapsed_time\": {}, \"total_tokens\": {}",
            seconds(self.steps.stage.elapsed()),
            self.steps.tokens
        )
    }

    fn cost(&self, calls: u32) -> String {
        format!(
            "\"total_tokens\": {}, \"total_price\": \"{:.5}\", \"currency\": \"USD\"",
            self.steps.tokens,
            f64::from(9 * calls) / 100_000.0
        )
    }

    /// Rounds count twice in the usage of the message, as in Dify.
    fn double_usage(&mut self, calls: u32, tokens: u32) {
        let clock = Clock::of_flow(self.steps.turn.release());
        self.usage = usage::of_calls(2 * calls, 2 * tokens, clock);
    }

    /// Two models side by side; the answer gives the left one first.
    async fn both(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let release = turn.release();
        let clock = Clock::of_flow(release);
        let right = self.steps.start("right", "llm", "right", Some("start")).await?;
        let left = self.steps.start("left", "llm", "left", Some("start")).await?;
        let prompts = [format!("left {}", turn.query), format!("right {}", turn.query)];
        let usage = usage::of(3, clock);
        let metadata = usage::node_metadata(3);
        let answer = |prompt: &str| format!("Echo: {prompt}");
        let shown = prompts
            .each_ref()
            .map(|prompt| model::shown(prompt, Some((&answer(prompt), &usage)), release));
        for (at, prompt) in prompts.iter().enumerate() {
            let selector = ["[\"left\", \"text\"]", "[\"right\", \"text\"]"][at];
            let text = answer(prompt);
            for token in text.split_inclusive(' ') {
                self.say(token, selector).await?;
            }
            if at == 0 {
                let shown = &shown[1];
                let result = NodeResult {
                    metadata: &metadata,
                    ..self.steps.result(&shown.inputs, &shown.process_data, &shown.outputs)
                };
                self.steps.finish(&right, &result).await?;
            }
            for _ in 0..2 {
                self.say("", selector).await?;
            }
            if at == 0 {
                self.say(" / ", "[\"answer\", \"answer\"]").await?;
            }
        }
        let shown = &shown[0];
        let result = NodeResult {
            metadata: &metadata,
            ..self.steps.result(&shown.inputs, &shown.process_data, &shown.outputs)
        };
        self.steps.finish(&left, &result).await?;
        self.steps.tokens = 2 * (3 + usage::PROMPT_TOKENS);
        self.usage = usage::of_calls(2, 6, clock);
        let text = self.answer.clone();
        self.answer_node("answer", "left", &text).await
    }

    /// A node whose server is not there: tried again so often and given up, or got over with the
    /// values it has for that case.
    pub(super) async fn bad(&mut self, tries: Option<u32>) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let node = self.steps.start("bad", "http-request", "Bad HTTP", Some("start")).await?;
        let process = http::bad_request();
        if let Some(tries) = tries {
            for again in 1..=tries {
                let wait = turn.asked_time(0.5).min(Duration::from_secs(1));
                self.steps.stage.pause(wait).await?;
                let result = NodeResult {
                    status: "retry",
                    error: Some(http::REFUSED),
                    ..self.steps.result("null", &process, "null")
                };
                let data = node.finished(&result, turn.release());
                let data = format!("{}, \"retry_index\": {again}}}", data.trim_end_matches('}'));
                self.steps.exceptions += 1;
                self.steps.count += 1;
                self.steps.stage.event(|| turn.flow_event("node_retry", &data)).await?;
            }
            let result = self.steps.result("null", &process, "null");
            self.steps.fail(&node, result, http::REFUSED).await?;
            return Ok(End::Failed(http::REFUSED.to_owned()));
        }
        self.say("instead", "[\"bad\", \"body\"]").await?;
        let outputs = format!(
            "{{\"body\": \"instead\", \"status_code\": 0, \"headers\": {{}}, {}}}",
            http::failure_outputs()
        );
        let result =
            http::got_over(&self.steps.result("null", &process, &outputs), "default-value");
        self.steps.finish(&node, &result).await?;
        let text = self.answer.clone();
        self.answer_node("answer", "bad", &text).await?;
        Ok(End::GotOver)
    }
}
