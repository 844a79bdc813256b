//! What all protocols tell of an app's answer, and the trait by which each encodes it.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use crate::dify::response_body::Usage;
use crate::model::GatewayError;

/// Encodes what an app says in one protocol, event by event or at the end.
///
/// A stream is `start`, then any number of `encode`, then `finish` or `fail`, each adding the frames
/// that go out at once. A blocking response is `json_body` alone.
pub trait ResponseEncoder {
    /// The first frames. Called once, before all others.
    fn start(&mut self, start: &ResponseStart, out: &mut BytesMut);

    /// One thing that the app said.
    fn encode(&mut self, event: &AppEvent, out: &mut BytesMut);

    /// The last frames of an answer that is whole.
    fn finish(&mut self, summary: &ResponseSummary, out: &mut BytesMut);

    /// The last frames of an answer that broke off; `summary` is what came so far.
    fn fail(&mut self, error: &GatewayError, summary: &ResponseSummary, out: &mut BytesMut);

    /// A frame that keeps the connection alive and means nothing.
    fn keep_alive(&mut self, out: &mut BytesMut);

    /// The whole answer as one JSON text.
    fn json_body(&mut self, start: &ResponseStart, summary: &ResponseSummary) -> Bytes;
}

/// One thing that an app says.
#[derive(Clone, Debug, PartialEq)]
pub enum AppEvent {
    /// The next piece of the answer. Never empty.
    Text(String),
    /// The next piece of reasoning. Never empty.
    Reasoning(String),
    /// A line about what goes on inside the run, for those who wait; part of neither answer nor
    /// reasoning. Never empty.
    Progress(String),
    /// Documents that the answer rests on. Never empty.
    Sources(Vec<Source>),
    /// Nothing yet: Dify's ping.
    Ping,
}

/// What is known when an answer begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseStart {
    /// Dify's message, of workflows its run: unique, in lower-case hexadecimal with hyphens.
    pub id: String,
    /// Dify's conversation, of apps that have one.
    pub conversation: Option<String>,
    /// When the answer began, in seconds since 1970.
    pub created_s: u64,
    /// The model as the client named it.
    pub model: String,
}

/// All that an app has said, summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseSummary {
    /// The answer, without reasoning.
    pub text: String,
    /// The reasoning.
    pub reasoning: String,
    /// Documents that the answer rests on.
    pub sources: Vec<Source>,
    /// Forms that the run waits for, whose text stands in the answer: what Dify says of each.
    pub forms: Vec<Value>,
    /// Why it ended.
    pub finish: FinishReason,
    /// What Dify counted.
    pub usage: Option<Usage>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinishReason {
    /// The app had said all.
    #[default]
    Stop,
    /// A text of the client's `stop` came.
    StopSequence,
    /// Dify replaced the answer after part of it had gone out.
    Filtered,
}

/// A document that an answer rests on, one of Dify's `retriever_resources`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The document's name.
    pub title: String,
    /// Where it can be read, if Dify knows.
    pub url: Option<String>,
    /// All that Dify says of it.
    pub raw: Value,
}
