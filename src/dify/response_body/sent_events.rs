//! What the client of a flow's stream has got, as far as it matters when the stream breaks off and is
//! gone on with from `/workflow/{run}/events`.
//!
//! Of the text only a sum is kept, of a node's events a number each: so much is affordable for every
//! stream. Events are looked at as they stand on the wire of 1.14 and later, with their name first.

use memchr::memchr;

use super::json_members::{after_value, members, text, value};

/// Nodes whose events are known by number. A flow with more of them is rare, and of its past nothing
/// is told again then.
const MAX_NODES: usize = 4096;

/// How far a client's text goes: a sum and a length, by which a longer text can be seen to begin
/// with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TextSum {
    hash: u64,
    bytes: usize,
}

impl TextSum {
    const NOTHING: Self = Self { hash: 0xcbf2_9ce4_8422_2325, bytes: 0 };

    /// FNV-1a: the sum of two pieces is that of both in one.
    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.bytes += text.len();
    }

    /// What follows in `whole`, if it begins with this.
    fn rest_of<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let (begin, rest) = whole.split_at_checked(self.bytes)?;
        let mut sum = Self::NOTHING;
        sum.add(begin);
        (sum == *self).then_some(rest)
    }
}

/// What became of the text that went out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wording {
    Kept,
    /// A later event replaced it: Dify's moderation, whose word is the last.
    Replaced,
}

/// What the client of a flow's stream has got.
#[derive(Debug)]
pub struct SentEvents {
    text: TextSum,
    wording: Wording,
    nodes: Vec<u64>,
    message_ended: bool,
    ended: bool,
}

impl Default for SentEvents {
    fn default() -> Self {
        let (text, wording) = (TextSum::NOTHING, Wording::Kept);
        Self { text, wording, nodes: Vec::new(), message_ended: false, ended: false }
    }
}

/// An event that tells something of a text or a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `message`, `text_chunk`.
    Text,
    /// `message_replace`, `text_replace`.
    Replacement,
    /// `node_started`, and what asks a person for something.
    NodeStarted,
    NodeFinished,
    MessageEnd,
    WorkflowStarted,
    WorkflowFinished,
    /// `workflow_paused`, `error`.
    OtherEnd,
}

impl Kind {
    fn named(event: &[u8]) -> Option<Self> {
        Some(match event {
            b"message" | b"text_chunk" => Self::Text,
            b"message_replace" | b"text_replace" => Self::Replacement,
            b"node_started" | b"human_input_required" => Self::NodeStarted,
            b"node_finished" => Self::NodeFinished,
            b"message_end" => Self::MessageEnd,
            b"workflow_started" => Self::WorkflowStarted,
            b"workflow_finished" => Self::WorkflowFinished,
            b"workflow_paused" | b"error" => Self::OtherEnd,
            _ => return None,
        })
    }
}

/// The kind of an event, by its JSON.
pub(super) fn kind(json: &[u8]) -> Option<Kind> {
    let mut kind = None;
    members(json, |key, rest| {
        if key == b"event" {
            kind = Kind::named(text(value(rest)?.0)?);
            return None;
        }
        after_value(rest)
    });
    kind
}

/// The JSON of a line of a stream, if it is a line of data.
pub(super) fn data(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:")
}

/// The number of a node's event, if it names the node.
pub(super) fn node_number(kind: Kind, json: &[u8]) -> Option<u64> {
    let mut found = None;
    members(json, |key, rest| {
        if key != b"data" {
            return after_value(rest);
        }
        members(rest, |key, rest| {
            let (value, after) = value(rest)?;
            if matches!(key, b"id" | b"form_id") {
                found = text(value).map(|id| {
                    let mut sum = TextSum::NOTHING;
                    sum.add(&String::from_utf8_lossy(id));
                    (sum.hash & !1) | u64::from(kind == Kind::NodeFinished)
                });
                return None;
            }
            Some(after)
        });
        None
    });
    found
}

fn event_text(json: &[u8], mut each: impl FnMut(&str)) {
    members(json, |key, rest| match key {
        b"answer" => {
            unquoted(value(rest)?.0, &mut each);
            None
        }
        b"data" => {
            members(rest, |key, rest| {
                let (value, after) = value(rest)?;
                if key == b"text" {
                    unquoted(value, &mut each);
                    return None;
                }
                Some(after)
            });
            None
        }
        _ => after_value(rest),
    });
}

fn unquoted(string: &[u8], each: &mut impl FnMut(&str)) {
    if let Some(inner) = text(string)
        && memchr(b'\\', inner).is_none()
        && let Ok(inner) = str::from_utf8(inner)
    {
        each(inner);
    } else if let Ok(text) = serde_json::from_slice::<String>(string) {
        each(&text);
    }
}

impl SentEvents {
    /// Whole events go out to the client.
    pub fn pass(&mut self, events: &[u8]) {
        let mut rest = events;
        while let Some(end) = memchr(b'\n', rest) {
            if let Some(json) = data(&rest[..end]) {
                self.note(json);
            }
            rest = &rest[end + 1..];
        }
    }

    fn note(&mut self, json: &[u8]) {
        let Some(kind) = kind(json) else { return };
        match kind {
            Kind::Text => event_text(json, |text| self.text.add(text)),
            Kind::Replacement => {
                self.wording = Wording::Replaced;
                self.text = TextSum::NOTHING;
                event_text(json, |text| self.text.add(text));
            }
            Kind::NodeStarted | Kind::NodeFinished => {
                if self.nodes.len() < MAX_NODES
                    && let Some(number) = node_number(kind, json)
                {
                    self.nodes.push(number);
                }
            }
            Kind::MessageEnd => self.message_ended = true,
            Kind::WorkflowFinished | Kind::OtherEnd => self.ended = true,
            Kind::WorkflowStarted => {}
        }
    }

    /// Whether the client knows that the run is over.
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn message_ended(&self) -> bool {
        self.message_ended
    }

    /// Whether text went out that was replaced later.
    pub(super) fn is_replaced(&self) -> bool {
        self.wording == Wording::Replaced
    }

    /// Whether a node's event has not gone out.
    pub(super) fn lacks(&self, number: u64) -> bool {
        !self.nodes.contains(&number)
    }

    /// Whether there were more events of nodes than are known by number.
    pub(super) fn has_forgotten_nodes(&self) -> bool {
        self.nodes.len() >= MAX_NODES
    }

    /// What of the whole text is missing; none if the text so far is no part of it.
    pub(super) fn missing<'a>(&self, whole: &'a str) -> Option<&'a str> {
        self.text.rest_of(whole)
    }

    pub(super) fn has_text(&self) -> bool {
        self.text.bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::{SentEvents, TextSum};

    #[test]
    fn a_text_is_known_by_its_sum_in_whatever_pieces_it_came() {
        let whole = "Grüße, \"Welt\"\n";
        for (at, _) in whole.char_indices() {
            let mut sum = TextSum::NOTHING;
            whole[..at].chars().for_each(|letter| sum.add(letter.encode_utf8(&mut [0; 4])));
            assert_eq!(sum.rest_of(whole), Some(&whole[at..]));
        }
        let mut other = TextSum::NOTHING;
        other.add("Grusse");
        assert_eq!(other.rest_of(whole), None);
        other.add(&"x".repeat(99));
        assert_eq!(other.rest_of(whole), None, "longer than the whole");
    }

    #[test]
    fn texts_are_noted_in_both_spellings_of_json_and_with_escapes() {
        let mut sent = SentEvents::default();
        sent.pass(
            b"event: ping\n\ndata: {\"event\":\"message\",\"id\":\"1\",\"answer\":\"a\\n\"}\n\n",
        );
        sent.pass(
            b"data: {\"event\": \"text_chunk\", \"data\": {\"x\": 1, \"text\": \"\\u00fc\"}}\n\n",
        );
        sent.pass(
            b"data: {\"event\":\"agent_log\",\"data\":{\"text\":\"no text of the answer\"}}\n\n",
        );
        assert_eq!(sent.missing("a\nüb"), Some("b"));
        assert!(!sent.ended() && !sent.is_replaced());
        sent.pass(b"data: {\"event\":\"message_replace\",\"answer\":\"z\"}\n\n");
        assert_eq!((sent.missing("zz"), sent.is_replaced()), (Some("z"), true));
        sent.pass(b"data: {\"event\":\"workflow_finished\",\"data\":{}}\n\n");
        assert!(sent.ended());
    }
}
