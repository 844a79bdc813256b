//! Where a run ends in its stream: every recorded stream of Dify 1.5 to main, event by event.

use serde_json::Value;

use super::{Recording, recordings_in, streamed};
use crate::dify::response_body::{EventLearner, Pauses};

/// The streams of both folders of recordings.
fn streams() -> Vec<Recording> {
    let folders = ["dify-sim/recordings", "dify-sim/recordings-1.14"];
    let all = folders.iter().flat_map(|folder| recordings_in(folder));
    all.filter(|answer| answer.status == 200 && streamed(answer)).collect()
}

fn waits(answer: &Recording) -> bool {
    answer.target.contains("continue_on_pause=true")
}

fn learner(answer: &Recording) -> EventLearner {
    let pauses = if waits(answer) { Pauses::Wait } else { Pauses::End };
    EventLearner::new().with_pauses(pauses)
}

fn events(answer: &Recording) -> Vec<&str> {
    answer.body.split_inclusive("\n\n").collect()
}

fn parsed(event: &str) -> Value {
    let json = event.trim().strip_prefix("data:").unwrap_or("null");
    serde_json::from_str(json).unwrap_or_default()
}

/// The place of the event that ends the run, by a second reading of the rules; none if it never ends.
fn expected(answer: &Recording) -> Option<usize> {
    let events: Vec<_> = events(answer).into_iter().map(parsed).collect();
    let at = |name: &str| events.iter().position(|event| event["event"] == name);
    if let (Some(paused), false) = (at("workflow_paused"), waits(answer)) {
        return Some(paused);
    }
    let (message, flow) = (at("message_end"), at("workflow_finished"));
    let Some(flow) = flow else {
        let is_flow = at("workflow_started").is_some();
        return message.filter(|_| !is_flow).or(at("error"));
    };
    let went_wrong = matches!(events[flow]["data"]["status"].as_str(), Some("failed" | "stopped"));
    let of_a_message = events[flow]["message_id"].is_string();
    if of_a_message && !went_wrong { message.map(|message| message.max(flow)) } else { Some(flow) }
}

#[test]
fn the_end_of_every_recorded_run_is_found_where_it_is_and_not_before() {
    let (mut ended, mut open) = (0, 0);
    for answer in streams() {
        let expected = expected(&answer);
        let mut learner = learner(&answer);
        let mut found = None;
        for (place, event) in events(&answer).into_iter().enumerate() {
            learner.feed(event.as_bytes());
            found = found.or(learner.ended().then_some(place));
        }
        assert_eq!(found, expected, "{}", answer.case);
        match found {
            Some(_) => ended += 1,
            None => open += 1,
        }
    }
    assert!(ended >= 170 && open >= 10, "{ended} ended, {open} did not");
}

#[test]
fn nothing_but_one_event_follows_the_end_of_a_recorded_run() {
    let mut followed = 0;
    for answer in streams() {
        let mut learner = learner(&answer);
        let mut after = Vec::new();
        for event in events(&answer) {
            if learner.ended() {
                after.push(parsed(event)["event"].as_str().unwrap_or_default().to_owned());
            }
            learner.feed(event.as_bytes());
        }
        // Up to 1.12 a flow that failed or was stopped is followed by what it means for the message.
        let fits = match after.as_slice() {
            [] => true,
            [one] => matches!(one.as_str(), "error" | "message_end"),
            _ => false,
        };
        assert!(fits, "{}: {after:?}", answer.case);
        followed += after.len();
    }
    assert!(followed >= 10, "{followed}");
}

#[test]
fn what_explains_a_recorded_failure_is_told_and_a_stop_is_none() {
    let (mut failed, mut stopped) = (0, 0);
    for answer in streams() {
        let mut learner = learner(&answer);
        learner.feed(answer.body.as_bytes());
        let values: Vec<_> = events(&answer).into_iter().map(parsed).collect();
        let flow = values.iter().find(|event| event["event"] == "workflow_finished");
        let (status, why) = flow.map_or((None, None), |flow| {
            (flow["data"]["status"].as_str(), flow["data"]["error"].as_str())
        });
        let message = values.iter().find(|event| event["event"] == "error");
        let message = message.and_then(|event| event["message"].as_str());
        let aborted = why.is_some_and(|why| why.starts_with("Aborted: User requested stop"));
        let was_stopped = aborted || status == Some("stopped");
        let failure = match status {
            _ if was_stopped => None,
            Some("failed") => why,
            _ => message,
        };
        assert_eq!(learner.failure(), failure.map(str::trim), "{}", answer.case);
        assert_eq!(learner.stopped(), was_stopped, "{}", answer.case);
        failed += usize::from(failure.is_some());
        stopped += usize::from(was_stopped);
    }
    assert!(failed >= 30 && stopped >= 10, "{failed} {stopped}");
}

#[test]
fn sound_may_come_until_its_end_is_said() {
    let mut learner = EventLearner::new();
    learner.feed(b"data: {\"event\": \"message_end\", \"task_id\": \"t\"}\n\n");
    assert!(learner.ended() && learner.answered() && !learner.speaks());
    for piece in [&b"data: {\"event\": \"tts_mess"[..], b"age\", \"audio\": \"AAAA", b"\"}\n\n"] {
        learner.feed(piece);
    }
    assert!(learner.speaks());
    learner.feed(b"data: {\"event\": \"tts_message_end\", \"audio\": \"\"}\n\n");
    assert!(!learner.speaks());
}

#[test]
fn a_chatflow_is_answered_by_its_message_and_over_with_its_workflow() {
    let mut learner = EventLearner::new();
    let id = "02b4ca2f-e6b9-4817-9796-79ad0513ede0";
    let event = |name: &str, more: &str| {
        format!(
            "data: {{\"event\":\"{name}\",\"message_id\":\"{id}\",\"task_id\":\"{id}\",\
             \"workflow_run_id\":\"{id}\"{more}}}\n\n"
        )
    };
    learner.feed(event("workflow_started", ",\"data\":{}").as_bytes());
    assert!(!learner.answered());
    learner.feed(event("message_end", ",\"metadata\":{}").as_bytes());
    assert!(learner.answered() && !learner.ended());
    learner.feed(event("workflow_finished", ",\"data\":{\"status\":\"succeeded\"}").as_bytes());
    assert!(learner.ended());
}
