//! Runs of chat, agent-chat and completion apps: a model and nothing around it.

use super::model::{self, Script};
use super::stage::{Halt, Stage};
use super::turn::Turn;
use super::{Outcome, usage};
use crate::pyjson;
use crate::setup::Mode;
use uuid::Uuid;

/// Tokens a blocking model answer is said to have.
const BLOCKING_TOKENS: u32 = 5;

pub(super) async fn play(turn: &Turn, stage: &mut Stage<'_>) -> Result<Outcome, Halt> {
    let script = model::script(&turn.query);
    if !stage.is_live() {
        return Ok(silent(turn, &script));
    }
    let thought = Uuid::new_v4();
    let mut answer = String::new();
    match speak(turn, stage, &script, &thought, &mut answer).await {
        Ok(()) => {}
        Err(Halt::Gone) => return Err(Halt::Gone),
        Err(Halt::Stopped) => {
            let usage = usage::stopped(stage.elapsed());
            return end(turn, stage, answer, usage).await;
        }
    }
    if let Some(failure) = script.failure {
        turn.save_error(failure.plain);
        let code = "completion_request_error";
        stage.last_event(|| turn.error_event(code, failure.plain)).await?;
        return Ok(Outcome::Failed { code, message: failure.plain.to_owned() });
    }
    if turn.app.app.mode == Mode::AgentChat {
        if let Some(message) = turn.shared.db().messages.get_mut(turn.message) {
            message.thought = Some((thought, answer.clone()));
        }
        stage.last_event(|| thought_event(turn, &thought, &answer)).await?;
    }
    let count = u32::try_from(script.tokens.len()).unwrap_or(u32::MAX - usage::PROMPT_TOKENS);
    end(turn, stage, answer, usage::of(count)).await
}

async fn speak(
    turn: &Turn,
    stage: &mut Stage<'_>,
    script: &Script,
    thought: &Uuid,
    answer: &mut String,
) -> Result<(), Halt> {
    let pace = turn.shared.setup.pace;
    let agent = turn.app.app.mode == Mode::AgentChat;
    stage.wait(pace.first_token).await?;
    let count = script.failure.map_or(script.tokens.len(), |failure| failure.after);
    let step = turn.step(script);
    if agent && count > 0 {
        stage.event(|| thought_event(turn, thought, "")).await?;
    }
    for (at, token) in script.tokens.iter().take(count).enumerate() {
        if at > 0 {
            stage.wait(step).await?;
        }
        stage.event(|| piece_event(turn, token)).await?;
        answer.push_str(token);
    }
    if script.failure.is_none() {
        stage.event(|| piece_event(turn, "")).await?;
    }
    Ok(())
}

fn piece_event(turn: &Turn, text: &str) -> String {
    if turn.app.app.mode != Mode::AgentChat {
        return turn.message_event(text, "null");
    }
    let fields = format!("\"id\": \"{}\", \"answer\": {}", turn.message, pyjson::quote(text));
    turn.event("agent_message", &fields)
}

fn thought_event(turn: &Turn, id: &Uuid, thought: &str) -> String {
    turn.event(
        "agent_thought",
        &format!(
            "\"id\": \"{id}\", \"position\": 1, \"thought\": {}, \"observation\": \"\", \
             \"tool\": \"\", \"tool_labels\": {{}}, \"tool_input\": \"\", \"message_files\": []",
            pyjson::quote(thought)
        ),
    )
}

async fn end(
    turn: &Turn,
    stage: &mut Stage<'_>,
    answer: String,
    usage: String,
) -> Result<Outcome, Halt> {
    turn.save_answer(&answer);
    stage.last_event(|| turn.end_event(&usage, "null")).await?;
    Ok(Outcome::Done { answer, usage })
}

/// A blocking request: the model that dies in the middle is not noticed by Dify.
fn silent(turn: &Turn, script: &Script) -> Outcome {
    match script.failure {
        Some(failure) if failure.after == 0 => {
            turn.save_error(failure.plain);
            let message = failure.plain.to_owned();
            Outcome::Failed { code: "completion_request_error", message }
        }
        Some(_) => {
            let answer = script.tokens.first().cloned().unwrap_or_default();
            turn.save_answer(&answer);
            Outcome::Done { answer, usage: usage::NONE.to_owned() }
        }
        None => {
            let answer = script.tokens.concat();
            turn.save_answer(&answer);
            Outcome::Done { answer, usage: usage::of(BLOCKING_TOKENS) }
        }
    }
}
