//! From the events of a run that `GET /workflow/{run}/events` gives, those that the client of the
//! run's first stream lacks.
//!
//! Facts of 1.14.2 and main (recorded): with `include_state_snapshot=true` the run's past comes first,
//! `workflow_started`, `message_replace` of a chatflow (empty while the run goes on), `node_started` and
//! `node_finished`, with the run's id in place of the task's; then what happens from then on. Text that
//! was said in between comes never again; but `workflow_finished` has the whole text, in
//! `outputs.answer` of a chatflow and in the outputs of a workflow. So text is held back until then,
//! and `message_end` with it, which comes shortly before. Of a run that has ended there is that one
//! event, without the ids of the message.

use bytes::Bytes;
use memchr::memmem;
use serde_json::{Value, json};

use super::complete_events::each_event;
use super::learned_ids::LearnedIds;
use super::sent_events::{Kind, SentEvents, data, kind, node_number};

/// The ids that the client knows the run by.
#[derive(Clone, Debug)]
pub struct RunIds {
    task: String,
    run: String,
    /// Conversation and message, of a chatflow.
    message: Option<(String, String)>,
}

impl RunIds {
    /// Those that a stream has named so far; none if it has not named a workflow's run.
    pub fn of(learned: &LearnedIds) -> Option<Self> {
        let ids = learned.conversation_id.zip(learned.message_id);
        Some(Self {
            task: learned.task_text.clone()?,
            run: learned.workflow_run_id?.to_string(),
            message: ids
                .map(|(conversation, message)| (conversation.to_string(), message.to_string())),
        })
    }

    /// For the path of `/workflow/{run}/events`.
    pub fn run(&self) -> &str {
        &self.run
    }
}

/// What the client gets where the whole text does not continue what it has.
#[derive(Clone, Debug)]
pub enum OnDifference {
    /// An event that replaces the text.
    Replace,
    /// This one.
    Instead(Bytes),
}

/// How a run was gone on with, once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaughtUp {
    /// The client has all of it.
    Continued,
    /// The text did not continue what the client had.
    Differs,
}

/// Makes a run's further events those of the stream that broke off.
#[derive(Debug)]
pub struct CatchUp {
    sent: SentEvents,
    ids: RunIds,
    on_difference: OnDifference,
    /// `message_end`, until the text before it is known.
    held_end: Option<Vec<u8>>,
    /// The last event was `workflow_started`.
    at_snapshot: bool,
    /// A replacement of the whole text came, so what follows it is known.
    knows_text: bool,
    outcome: Option<CaughtUp>,
}

impl CatchUp {
    /// Goes on from what was sent.
    pub fn new(sent: SentEvents, ids: RunIds, on_difference: OnDifference) -> Self {
        let (held_end, at_snapshot, knows_text, outcome) = Default::default();
        Self { sent, ids, on_difference, held_end, at_snapshot, knows_text, outcome }
    }

    /// Takes whole events and gives those that go out.
    pub fn pass(&mut self, events: &[u8]) -> Bytes {
        let mut out = Vec::new();
        for event in each_event(events) {
            let begin = out.len();
            self.event(event, &mut out);
            self.sent.pass(&out[begin..]);
        }
        out.into()
    }

    /// How it ended; none before that.
    pub fn outcome(&self) -> Option<CaughtUp> {
        self.outcome
    }

    /// What was sent, for going on once more. A `message_end` held back is made again then.
    pub fn into_sent(self) -> SentEvents {
        self.sent
    }

    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let at_snapshot = std::mem::take(&mut self.at_snapshot);
        let json = event.split(|byte| *byte == b'\n').find_map(data);
        let Some((json, kind)) = json.and_then(|json| Some((json, kind(json)?))) else {
            return self.push(event, out);
        };
        match kind {
            _ if self.sent.ended() => self.push(event, out),
            // The run is known by its own.
            Kind::WorkflowStarted => self.at_snapshot = true,
            Kind::Replacement if at_snapshot => {}
            Kind::Replacement => {
                self.knows_text = true;
                self.push(event, out);
            }
            Kind::Text if self.knows_text => self.push(event, out),
            Kind::Text => {}
            Kind::NodeStarted | Kind::NodeFinished if self.has(kind, json) => {}
            Kind::NodeStarted | Kind::NodeFinished => self.push(event, out),
            Kind::MessageEnd if self.sent.message_ended() => {}
            Kind::MessageEnd => self.held_end = Some(event.to_vec()),
            Kind::WorkflowFinished => self.finish(event, json, out),
            Kind::OtherEnd => {
                self.outcome = Some(CaughtUp::Continued);
                self.push_held_end(out);
                self.push(event, out);
            }
        }
    }

    /// Whether the client has a node's event already.
    fn has(&self, kind: Kind, json: &[u8]) -> bool {
        if self.sent.has_forgotten_nodes() {
            return self.is_of_the_past(json);
        }
        node_number(kind, json).is_some_and(|number| !self.sent.lacks(number))
    }

    /// The snapshot has the run's id for the task's.
    fn is_of_the_past(&self, json: &[u8]) -> bool {
        foreign_task(json, &self.ids).is_some()
    }

    fn finish(&mut self, event: &[u8], json: &[u8], out: &mut Vec<u8>) {
        let value: Value = serde_json::from_slice(json).unwrap_or_default();
        let data = &value["data"];
        let succeeded = matches!(data["status"].as_str(), Some("succeeded" | "partial-succeeded"));
        let created_at = value["created_at"].as_i64().or(data["created_at"].as_i64()).unwrap_or(0);
        let whole = self.whole_text(&data["outputs"]);
        let missing = whole.as_deref().map(|whole| self.sent.missing(whole));
        self.outcome = Some(CaughtUp::Continued);
        match (missing, whole.as_deref()) {
            _ if self.knows_text => {}
            (Some(Some("")), _) | (None, _) => {}
            (Some(Some(rest)), _) => out.extend_from_slice(&self.ids.text(rest, created_at)),
            // What a moderation has put in place of the text stays.
            (Some(None), _) if !succeeded || self.sent.is_replaced() => {}
            (Some(None), whole) => {
                self.outcome = Some(CaughtUp::Differs);
                match &self.on_difference {
                    OnDifference::Replace => {
                        let text = whole.unwrap_or_default();
                        out.extend_from_slice(&self.ids.replacement(text, created_at));
                    }
                    OnDifference::Instead(event) => out.extend_from_slice(event),
                }
            }
        }
        let stored = self.is_of_the_past(json);
        if stored && succeeded && self.held_end.is_none() && !self.sent.message_ended() {
            let tokens = data["total_tokens"].as_u64().unwrap_or(0);
            out.extend_from_slice(&self.ids.message_end(tokens, created_at));
        }
        self.push_held_end(out);
        match self.ids.message.is_some() && stored {
            true => out.extend_from_slice(&self.ids.workflow_finished(data, created_at)),
            false => self.push(event, out),
        }
    }

    /// All of the run's text, as far as it is known which of its outputs is streamed.
    fn whole_text(&self, outputs: &Value) -> Option<String> {
        if self.ids.message.is_some() {
            return outputs["answer"].as_str().map(str::to_owned);
        }
        let outputs = outputs.as_object()?;
        let texts: Vec<&str> = outputs.values().filter_map(Value::as_str).collect();
        if let ([text], 1) = (&*texts, outputs.len()) {
            return Some((*text).to_owned());
        }
        // Which of several outputs is streamed, and in which order, is not said.
        let all = [texts.concat(), texts.join("\n")];
        all.into_iter().find(|all| self.sent.has_text() && self.sent.missing(all).is_some())
    }

    fn push_held_end(&mut self, out: &mut Vec<u8>) {
        if let Some(held) = self.held_end.take() {
            self.push(&held, out);
        }
    }

    /// An event goes out, by the task that the client knows.
    fn push(&self, event: &[u8], out: &mut Vec<u8>) {
        match foreign_task(event, &self.ids) {
            Some(at) => {
                out.extend_from_slice(&event[..at]);
                out.extend_from_slice(self.ids.task.as_bytes());
                out.extend_from_slice(&event[at + self.ids.run.len()..]);
            }
            None => out.extend_from_slice(event),
        }
    }
}

/// Where the run's id stands in place of the task's.
fn foreign_task(event: &[u8], ids: &RunIds) -> Option<usize> {
    let key = b"\"task_id\":";
    let at = memmem::find(event, key)? + key.len();
    let at = at + usize::from(event.get(at) == Some(&b' ')) + 1;
    let is_run = event.get(at..)?.starts_with(ids.run.as_bytes()) && ids.run != ids.task;
    is_run.then_some(at)
}

/// Events in the words of Dify 1.14.
impl RunIds {
    fn text(&self, text: &str, created_at: i64) -> Bytes {
        match &self.message {
            Some((_, message)) => {
                let more = json!({ "id": message, "answer": text, "from_variable_selector": null });
                self.event("message", created_at, more)
            }
            None => {
                let data = json!({ "text": text, "from_variable_selector": [] });
                self.event("text_chunk", created_at, json!({ "data": data }))
            }
        }
    }

    fn replacement(&self, text: &str, created_at: i64) -> Bytes {
        match &self.message {
            Some(_) => {
                let more = json!({ "answer": text, "reason": "" });
                self.event("message_replace", created_at, more)
            }
            None => {
                let more = json!({ "data": { "text": text } });
                self.event("text_replace", created_at, more)
            }
        }
    }

    /// Of a stored run no more is known than its tokens. A workflow's stream has no such event.
    fn message_end(&self, total_tokens: u64, created_at: i64) -> Bytes {
        let Some((_, message)) = &self.message else { return Bytes::new() };
        let usage = json!({ "total_tokens": total_tokens });
        let metadata = json!({ "retriever_resources": [], "usage": usage });
        let more = json!({ "id": message, "metadata": metadata, "files": [] });
        self.event("message_end", created_at, more)
    }

    fn workflow_finished(&self, data: &Value, created_at: i64) -> Bytes {
        let more = json!({ "workflow_run_id": self.run, "data": data });
        self.event("workflow_finished", created_at, more)
    }

    fn event(&self, name: &str, created_at: i64, more: Value) -> Bytes {
        let mut event = json!({ "event": name });
        if let Some((conversation, message)) = &self.message {
            event["conversation_id"] = json!(conversation);
            event["message_id"] = json!(message);
            event["created_at"] = json!(created_at);
        } else {
            event["workflow_run_id"] = json!(self.run);
        }
        event["task_id"] = json!(self.task);
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        format!("data: {event}\n\n").into()
    }
}

#[cfg(test)]
mod tests;
