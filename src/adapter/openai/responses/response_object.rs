//! The response object and its items.

use serde_json::{Value, json};

use crate::adapter::extensions::CONVERSATION;
use crate::adapter::object_text::ObjectText;
use crate::adapter::openai::x_dify;
use crate::adapter::response_encoder::{FinishReason, ResponseStart, ResponseSummary, Source};
use crate::dify::response_body::Usage;
use crate::model::{ErrorKind, GatewayError};

/// What stands before the id of Dify's message in a response's id.
pub(super) const RESPONSE: &str = "resp_";
/// What a response repeats of its request.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    pub instructions: Option<String>,
    pub metadata: ObjectText,
    pub previous_response: Option<String>,
    pub user: Option<String>,
    pub is_stored: bool,
}

/// How far a response, or an item of it, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }

    /// Of an answer that ended so.
    pub(super) fn of(finish: FinishReason) -> Self {
        match finish {
            FinishReason::Stop | FinishReason::StopSequence => Self::Completed,
            FinishReason::Filtered => Self::Incomplete,
        }
    }
}

/// Dify's id without hyphens, which all ids of an answer end with.
pub(super) fn hex(start: &ResponseStart) -> String {
    start.id.replace('-', "")
}

/// A response. Of sampling and length it says nothing: the app has its own, and tools of the client
/// are never called.
pub(super) fn response(
    start: &ResponseStart,
    echo: &Echo,
    status: Status,
    output: Vec<Value>,
) -> Value {
    let conversation = start.conversation.as_deref();
    json!({
        "id": format!("{RESPONSE}{}", hex(start)),
        "object": "response",
        "created_at": start.created_s,
        "status": status.name(),
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": echo.instructions,
        "max_output_tokens": null,
        "max_tool_calls": null,
        "model": start.model,
        "output": output,
        "parallel_tool_calls": false,
        "previous_response_id": echo.previous_response,
        "conversation": conversation
            .map(|id| json!({"id": format!("{CONVERSATION}{}", id.replace('-', ""))})),
        "reasoning": {"effort": null, "summary": null},
        "store": echo.is_stored,
        "temperature": null,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_logprobs": 0,
        "top_p": null,
        "truncation": "disabled",
        "usage": null,
        "user": echo.user,
        "metadata": echo.metadata,
    })
}

/// A response that has ended as it should.
pub(super) fn ended(
    start: &ResponseStart,
    echo: &Echo,
    summary: &ResponseSummary,
    output: Vec<Value>,
) -> Value {
    let mut response = response(start, echo, Status::of(summary.finish), output);
    if summary.finish == FinishReason::Filtered {
        response["incomplete_details"] = json!({"reason": "content_filter"});
    }
    response["usage"] = summary.usage.map(usage).into();
    x_dify::add(&mut response, start, summary);
    response
}

/// A response that failed after it had begun.
pub(super) fn failed(
    start: &ResponseStart,
    echo: &Echo,
    error: &GatewayError,
    output: Vec<Value>,
) -> Value {
    let mut response = response(start, echo, Status::Failed, output);
    response["error"] = json!({"code": code(error.kind), "message": error.message});
    response
}

/// The few codes that a response's error may have.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::TooLarge => "invalid_prompt",
        ErrorKind::RateLimit => "rate_limit_exceeded",
        _ => "server_error",
    }
}

fn usage(counted: Usage) -> Value {
    json!({
        "input_tokens": counted.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": counted.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counted.total_tokens,
    })
}

/// An item of reasoning.
pub(super) fn reasoning(id: &str, status: Status, text: Option<&str>) -> Value {
    let summary: Vec<_> = text.map(summary).into_iter().collect();
    json!({"id": id, "type": "reasoning", "status": status.name(), "summary": summary})
}

/// The part of an item of reasoning.
pub(super) fn summary(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

/// An item of the answer's text.
pub(super) fn message(id: &str, status: Status, part: Option<Value>) -> Value {
    let content: Vec<_> = part.into_iter().collect();
    json!({
        "id": id,
        "type": "message",
        "status": status.name(),
        "role": "assistant",
        "content": content,
    })
}

/// The part of an item of text.
pub(super) fn part(text: &str, annotations: &[Value]) -> Value {
    json!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": []})
}

/// The documents that can be read on the web. Dify does not say which words rest on which document,
/// so each stands for the text so far.
pub(super) fn annotations(sources: &[Source], text: &str) -> Vec<Value> {
    let end = text.chars().count();
    let cited = sources.iter().filter_map(|source| {
        let url = source.url.as_ref()?;
        Some(json!({
            "type": "url_citation",
            "start_index": 0,
            "end_index": end,
            "url": url,
            "title": source.title,
        }))
    });
    cited.collect()
}
