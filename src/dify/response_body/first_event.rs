//! What the first event of a run's stream says of the instance.
//!
//! From 1.13 on a streamed flow is answered with 200 and `event: ping` before anything is looked at. On the
//! main branch of 2026 an error event follows where the instance does not have a file of the turn; 1.13.3 and
//! 1.14.2 then say nothing at all (measured).

use std::borrow::Cow;

use serde::Deserialize;

use super::refusal::says;

/// What a stream has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstEvent {
    /// Nothing but pings.
    Pending,
    /// The instance does not have a file that the turn names.
    NoFile,
    /// Something else: the run goes on, or has failed otherwise.
    Other,
}

/// Reads the first event of a stream that is no ping; `begin` is what has come so far.
pub fn first_event(begin: &[u8]) -> FirstEvent {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        event: Cow<'a, str>,
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    let mut lines = begin.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let Some(json) = line.strip_prefix(b"data:") else { continue };
        // The last piece of a split has no line end behind it.
        if lines.peek().is_none() {
            return FirstEvent::Pending;
        }
        let lacks = serde_json::from_slice::<Event<'_>>(json).is_ok_and(|event| {
            event.event == "error" && says(&event.message, "Invalid upload file")
        });
        return if lacks { FirstEvent::NoFile } else { FirstEvent::Other };
    }
    FirstEvent::Pending
}

#[cfg(test)]
mod tests {
    use super::{FirstEvent, first_event};
    use crate::dify::response_body::tests::{recordings_in, streamed};

    #[test]
    fn the_first_event_of_recorded_streams_is_told() {
        let (mut lacking, mut pending, mut other) = (0, 0, 0);
        for answer in recordings_in("dify-sim/recordings-1.14") {
            if answer.status != 200 || !streamed(&answer) {
                continue;
            }
            let expected =
                match answer.body.split("data: ").nth(1).or(answer.body.split("data:").nth(1)) {
                    None => FirstEvent::Pending,
                    Some(event) if event.contains("\"Invalid upload file\"") => FirstEvent::NoFile,
                    Some(_) => FirstEvent::Other,
                };
            assert_eq!(first_event(answer.body.as_bytes()), expected, "{}", answer.case);
            match expected {
                FirstEvent::NoFile => lacking += 1,
                FirstEvent::Pending => pending += 1,
                FirstEvent::Other => other += 1,
            }
        }
        assert!(lacking >= 3 && pending >= 5 && other > 100, "{lacking} {pending} {other}");
    }

    #[test]
    fn a_cut_event_is_not_judged() {
        let event =
            "event: ping\n\ndata: {\"event\":\"error\",\"message\":\"Invalid upload file\"}\n\n";
        let whole = event.len() - 1;
        for end in 0..whole {
            assert_eq!(first_event(&event.as_bytes()[..end]), FirstEvent::Pending, "{end}");
        }
        assert_eq!(first_event(&event.as_bytes()[..whole]), FirstEvent::NoFile);
        let other = "data: {\"event\":\"error\",\"message\":\"Run failed: Invalid upload file\"}\n";
        assert_eq!(first_event(other.as_bytes()), FirstEvent::Other);
    }
}
