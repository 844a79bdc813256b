//! What the nodes of each flow say and do.

use super::play::{End, Play};
use crate::app::Flow;
use crate::db::Filled;
use crate::pyjson;
use crate::run::model::{self, Aside, REPLACEMENT};
use crate::run::nodes::Result as NodeResult;
use crate::run::stage::Halt;
use crate::run::steps::used;
use crate::run::turn::Turn;
use crate::run::usage::{self, Clock};
use crate::run::{flow_files, http, human, nodes};

impl Play<'_, '_> {
    /// What the answer begins with before any node but the start node has run.
    pub(super) async fn speak_first(&mut self) -> Result<(), Halt> {
        let turn = self.steps.turn;
        let fixed = "[\"answer\", \"answer\"]";
        let query = (turn.query.clone(), "[\"sys\", \"query\"]");
        let words = match turn.flow() {
            Flow::Echo | Flow::NoModel | Flow::Unpublished => {
                vec![("You said: ".to_owned(), fixed), query]
            }
            Flow::Greeting => vec![
                ("Hello ".to_owned(), fixed),
                (turn.input("name"), "[\"start\", \"name\"]"),
                (": ".to_owned(), fixed),
                query,
            ],
            Flow::Files => vec![
                ("Files: ".to_owned(), fixed),
                (flow_files::markdown(turn), "[\"sys\", \"files\"]"),
                (" q=".to_owned(), fixed),
                query,
                (" conv=".to_owned(), fixed),
                (turn.conversation.to_string(), "[\"sys\", \"conversation_id\"]"),
                (" user=".to_owned(), fixed),
                (turn.user.clone(), "[\"sys\", \"user_id\"]"),
            ],
            Flow::Slow => vec![("Before the wait.".to_owned(), "[\"a1\", \"answer\"]")],
            Flow::SlowFirst => vec![("After: ".to_owned(), "[\"a2\", \"answer\"]")],
            Flow::Retry | Flow::DefaultValue => vec![("Got ".to_owned(), fixed)],
            _ => Vec::new(),
        };
        let paced = matches!(turn.flow(), Flow::Echo | Flow::Greeting);
        let pace = turn.shared.setup.pace;
        let mut wait = pace.first_token;
        for (text, selector) in words {
            if paced {
                self.steps.stage.pause(wait).await?;
                wait = pace.between_tokens;
            }
            self.say(&text, selector).await?;
        }
        Ok(())
    }

    pub(super) async fn slow(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let speaks_first = turn.flow() == Flow::Slow;
        let later = turn.release().is_restx();
        let mut before = "start";
        let text = if speaks_first { " After: " } else { "After: " };
        let selector = "[\"a2\", \"answer\"]";
        if speaks_first {
            let first = "Before the wait.";
            let node = self.steps.start("a1", "answer", "Answer", Some("start")).await?;
            if later {
                self.say(text, selector).await?;
            }
            self.answer_finish(&node, first).await?;
            before = "a1";
            if !later {
                self.say(text, selector).await?;
            }
        }
        let node = self.steps.start("slow", "http-request", "Slow HTTP", Some(before)).await?;
        let seconds = Turn::slow_seconds(&turn.query);
        self.steps.stage.wait(turn.asked_time(seconds)).await?;
        let body = format!("slept {}", nodes::seconds(seconds));
        let process = http::slow_request(&turn.query);
        let outputs = http::slow_outputs(&body, turn.release());
        if later {
            self.say(&body, "[\"slow\", \"body\"]").await?;
        }
        self.steps.finish(&node, &self.steps.result("null", &process, &outputs)).await?;
        if !later {
            self.say(&body, "[\"slow\", \"body\"]").await?;
        }
        self.answer_node("a2", "slow", &format!("{text}{body}")).await
    }

    pub(super) async fn llm(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let release = turn.release();
        let pace = turn.shared.setup.pace;
        let script = turn.script(&turn.query);
        let node = self.steps.start("llm", "llm", "LLM", Some("start")).await?;
        self.steps.stage.pause(pace.first_token).await?;
        if script.asides.contains(&Aside::Reasoning) {
            for event in turn.reasoning_events() {
                self.steps.stage.event(|| event).await?;
            }
        }
        let step = turn.step(&script);
        let count = script.failure.map_or(script.tokens.len(), |failure| failure.after);
        for (at, token) in script.tokens.iter().take(count).enumerate() {
            if at > 0 {
                self.steps.stage.pause(step).await?;
            }
            self.say(token, "[\"llm\", \"text\"]").await?;
        }
        if let Some(failure) = script.failure {
            let shown = model::shown(&turn.query, None, release);
            let result = self.steps.result(&shown.inputs, &shown.process_data, "{}");
            self.steps.fail(&node, result, failure.node).await?;
            return Ok(End::Failed(failure.node.to_owned()));
        }
        for _ in 0..if release.is_restx() { 2 } else { 1 } {
            self.say("", "[\"llm\", \"text\"]").await?;
        }
        if script.asides.contains(&Aside::Picture) {
            self.steps.stage.event(|| turn.picture_event()).await?;
        }
        if script.asides.contains(&Aside::Replacement) {
            REPLACEMENT.clone_into(&mut self.answer);
            self.steps.stage.event(|| turn.replace_event(REPLACEMENT)).await?;
        }
        let (count, tokens) = used(count);
        self.usage = usage::of(count, Clock::of_flow(release));
        self.steps.tokens = tokens;
        let shown = model::shown(&turn.query, Some((&self.answer, &self.usage)), release);
        let metadata = usage::node_metadata(count);
        let result = NodeResult {
            metadata: &metadata,
            ..self.steps.result(&shown.inputs, &shown.process_data, &shown.outputs)
        };
        self.steps.finish(&node, &result).await?;
        let text = self.answer.clone();
        self.answer_node("answer", "llm", &text).await
    }

    pub(super) async fn template(&mut self) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let node =
            self.steps.start("tmpl", "template-transform", "Template", Some("start")).await?;
        let name = if turn.release().is_restx() { "q" } else { "arg1" };
        let inputs = format!("{{\"{name}\": {}}}", pyjson::quote(&turn.query));
        let error = "Failed to execute code, which is likely a network issue, please check if \
            the sandbox service is running. ( Error: [Errno 111] Connection refused )";
        let result = self.steps.result(&inputs, "null", "{}");
        self.steps.fail(&node, result, error).await?;
        Ok(End::Failed(error.to_owned()))
    }

    /// After the form: what the human said, and the question.
    pub(super) async fn resumed(&mut self, filled: &Filled) -> Result<End, Halt> {
        let turn = self.steps.turn;
        let fixed = "[\"answer\", \"answer\"]";
        human::answer(&mut self.steps, filled, None).await?;
        let query = turn.query.clone();
        let words = [
            ("Got ", fixed),
            (filled.comment.as_str(), "[\"human\", \"comment\"]"),
            (" for ", fixed),
            (query.as_str(), "[\"sys\", \"query\"]"),
        ];
        for (text, selector) in words {
            self.say(text, selector).await?;
        }
        let text = self.answer.clone();
        self.answer_node("answer", "human", &text).await
    }
}
