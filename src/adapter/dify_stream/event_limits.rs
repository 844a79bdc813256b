//! How large an event may be: what is used has a limit, and what nobody needs has none.

use crate::adapter::mode::Mode;
use crate::dify::response_body::event_name;
use crate::sse::EventLimit;

/// The most bytes of an answer and its reasoning.
pub(super) const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The most bytes of an event without which the answer would be another: JSON needs up to six bytes
/// for one, and twice is enough for any text.
pub(super) const MAX_EVENT_BYTES: usize = 2 * MAX_ANSWER_BYTES;

/// The most bytes of an event that says something beside the answer; a node's has all that went in
/// and came out.
const MAX_ASIDE_BYTES: usize = 8 << 20;

/// How large an event may be that begins so.
pub(super) fn limit(mode: Mode, begin: &[u8]) -> EventLimit {
    match event_name(begin) {
        // Such as a comment.
        None if !has_data(begin) => EventLimit::Skip(0),
        None => EventLimit::Fail(MAX_EVENT_BYTES),
        Some(name) => match name {
            b"message" | b"agent_message" | b"message_replace" | b"message_end" | b"text_chunk"
            | b"text_replace" | b"workflow_finished" | b"workflow_paused" | b"error" => {
                EventLimit::Fail(MAX_EVENT_BYTES)
            }
            b"node_finished" if mode == Mode::Workflow => EventLimit::Skip(MAX_ASIDE_BYTES),
            b"workflow_started"
            | b"agent_thought"
            | b"message_file"
            | b"reasoning_chunk"
            | b"agent_log"
            | b"node_retry"
            | b"human_input_required" => EventLimit::Skip(MAX_ASIDE_BYTES),
            // Its title stands at the beginning, but it is no loss.
            name if name.starts_with(b"iteration_") || name.starts_with(b"loop_") => {
                EventLimit::Skip(MAX_ASIDE_BYTES)
            }
            _ => EventLimit::Skip(0),
        },
    }
}

/// Whether an event that cannot be read was one of those that count.
pub(super) fn counts(mode: Mode, begin: &[u8]) -> bool {
    event_name(begin).is_some() && matches!(limit(mode, begin), EventLimit::Fail(_))
}

fn has_data(begin: &[u8]) -> bool {
    begin.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| line.starts_with(b"data"))
}
