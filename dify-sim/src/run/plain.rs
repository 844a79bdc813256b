//! Runs of chat, agent-chat and completion apps: a model and nothing around it.

use super::model::{Aside, REPLACEMENT, Script};
use super::stage::{Halt, Outcome, Stage};
use super::turn::Turn;
use super::usage::Clock;
use super::{preempt, usage};
use crate::app::Mode;
use crate::live::End;
use crate::pyjson;
use crate::ran::RunEnd;
use uuid::Uuid;

/// Tokens a blocking model answer of 1.5 is said to have.
const BLOCKING_TOKENS: u32 = 5;

pub(super) async fn play(turn: &Turn, stage: &mut Stage<'_>) -> Result<Outcome, Halt> {
    let clock = Clock::of_model(turn.release());
    if let Some(reply) = preempt::reply(turn) {
        return preempted(turn, stage, reply).await;
    }
    let script = turn.script(&turn.query);
    if !stage.is_live() {
        return Ok(silent(turn, &script));
    }
    let mut thought = Thought::new(1);
    let mut answer = String::new();
    match speak(turn, stage, &script, &mut thought, &mut answer).await {
        Ok(()) => {}
        Err(Halt::Gone) => return Err(Halt::Gone),
        // Others cannot stop it.
        Err(Halt::Stopped | Halt::Aborted) => {
            turn.note(RunEnd::Stopped);
            let usage = usage::stopped(stage.elapsed(), clock);
            return end(turn, stage, answer, usage).await;
        }
    }
    if let Some(failure) = script.failure {
        turn.save_error(failure.plain);
        let code = "completion_request_error";
        stage.last_event(|| turn.error_event(code, failure.plain)).await?;
        return Ok(Outcome::Failed { code, message: failure.plain.to_owned() });
    }
    if turn.app.app.mode.is_agent() {
        if let Some(message) = turn.shared.db().messages.get_mut(turn.message) {
            message.thought = Some((thought.id, answer.clone()));
        }
        thought.text.clone_from(&answer);
        stage.last_event(|| thought_event(turn, &thought)).await?;
    }
    if script.asides.contains(&Aside::Picture) {
        stage.last_event(|| turn.picture_event()).await?;
    }
    if script.asides.contains(&Aside::Replacement) {
        REPLACEMENT.clone_into(&mut answer);
        stage.last_event(|| turn.replace_event(&answer)).await?;
    }
    if let Some(text) = preempt::replacement(turn, &answer) {
        let event = turn.replace_event_for(text, "");
        text.clone_into(&mut answer);
        stage.last_event(|| event).await?;
    }
    if turn.app.app.mode == Mode::Agent {
        stage.last_event(|| turn.message_event(&answer, "null")).await?;
    }
    let count = u32::try_from(script.tokens.len()).unwrap_or(u32::MAX - usage::PROMPT_TOKENS);
    end(turn, stage, answer, usage::of(count, clock)).await
}

/// An answer that no model gave comes letter by letter.
async fn preempted(
    turn: &Turn,
    stage: &mut Stage<'_>,
    reply: preempt::Reply,
) -> Result<Outcome, Halt> {
    let usage = usage::none(Clock::of_model(turn.release()));
    turn.save_answer(&reply.answer);
    for letter in reply.answer.chars() {
        stage.event(|| piece_event(turn, &letter.to_string())).await?;
    }
    let annotation = reply.annotation.unwrap_or_else(|| "null".to_owned());
    let metadata = usage::metadata(&usage, "[]", &annotation);
    stage.last_event(|| turn.end_event_of(&metadata, "null")).await?;
    Ok(Outcome::Done { answer: reply.answer, usage, annotation, end: End::AtOnce })
}

async fn speak(
    turn: &Turn,
    stage: &mut Stage<'_>,
    script: &Script,
    thought: &mut Thought,
    answer: &mut String,
) -> Result<(), Halt> {
    let pace = turn.shared.setup.pace;
    let agent = turn.app.app.mode.is_agent();
    stage.wait(pace.first_token).await?;
    let count = script.failure.map_or(script.tokens.len(), |failure| failure.after);
    let step = turn.step(script);
    if agent && script.asides.contains(&Aside::Tool) {
        use_tool(turn, stage, thought).await?;
        *thought = Thought::new(2);
    }
    if agent && count > 0 {
        stage.event(|| thought_event(turn, thought)).await?;
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

/// The thought before the answer, sent again as it fills up.
async fn use_tool(turn: &Turn, stage: &mut Stage<'_>, thought: &mut Thought) -> Result<(), Halt> {
    stage.event(|| thought_event(turn, thought)).await?;
    thought.text = "I look it up.".to_owned();
    thought.tool = "search";
    stage.event(|| thought_event(turn, thought)).await?;
    thought.observation = "{\"search\": \"found\"}";
    stage.event(|| thought_event(turn, thought)).await
}

fn piece_event(turn: &Turn, text: &str) -> String {
    if !turn.app.app.mode.is_agent() {
        return turn.message_event(text, "null");
    }
    let fields = format!("\"id\": \"{}\", \"answer\": {}", turn.message, pyjson::quote(text));
    turn.event("agent_message", &fields)
}

/// What an agent thinks, as far as it got.
struct Thought {
    id: Uuid,
    position: u32,
    text: String,
    /// The tool it calls, if any.
    tool: &'static str,
    observation: &'static str,
}

impl Thought {
    fn new(position: u32) -> Self {
        Self { id: Uuid::new_v4(), position, text: String::new(), tool: "", observation: "" }
    }
}

fn thought_event(turn: &Turn, thought: &Thought) -> String {
    let tool = thought.tool;
    let (labels, input) = match tool {
        "" => (String::new(), String::new()),
        _ => (
            format!("\"{tool}\": {{\"en_US\": \"Search\"}}"),
            format!("{{\"{tool}\": {{\"query\": {}}}}}", pyjson::quote(&turn.query)),
        ),
    };
    turn.event(
        "agent_thought",
        &format!(
            "\"id\": \"{}\", \"position\": {}, \"thought\": {}, \"observation\": {}, \
             \"tool\": \"{tool}\", \"tool_labels\": {{{labels}}}, \"tool_input\": {}, \
             \"message_files\": []",
            thought.id,
            thought.position,
            pyjson::quote(&thought.text),
            pyjson::quote(thought.observation),
            pyjson::quote(&input)
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
    Ok(done(answer, usage))
}

fn done(answer: String, usage: String) -> Outcome {
    Outcome::Done { answer, usage, annotation: "null".to_owned(), end: End::AtOnce }
}

/// A blocking request. That the model dies in the middle was not noticed by 1.5.
fn silent(turn: &Turn, script: &Script) -> Outcome {
    let release = turn.release();
    let clock = Clock::of_model(release);
    let tokens = if release.is_restx() {
        u32::try_from(script.tokens.len()).unwrap_or(u32::MAX - usage::PROMPT_TOKENS)
    } else {
        BLOCKING_TOKENS
    };
    match script.failure {
        Some(failure) if failure.after == 0 || release.is_restx() => {
            turn.save_error(failure.plain);
            let message = failure.plain.to_owned();
            Outcome::Failed { code: "completion_request_error", message }
        }
        Some(_) => {
            let answer = script.tokens.first().cloned().unwrap_or_default();
            turn.save_answer(&answer);
            done(answer, usage::none(clock))
        }
        None => {
            let mut answer = script.tokens.concat();
            if let Some(text) = preempt::replacement(turn, &answer) {
                text.clone_into(&mut answer);
            }
            turn.save_answer(&answer);
            done(answer, usage::of(tokens, clock))
        }
    }
}
