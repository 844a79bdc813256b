//! Every recorded stream of a run, replayed event by event.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;

struct Recorded {
    case: String,
    key: String,
    path: String,
    body: String,
}

impl Recorded {
    fn of(recording: &Value) -> Option<Self> {
        let text = |name: &str| recording[name].as_str();
        let request = text("request")?;
        let path = request.split(' ').nth(1)?.split('?').next()?.to_owned();
        let is_stream = text("head")?.to_lowercase().contains("text/event-stream");
        let is_run = request.starts_with("POST ") && !path.ends_with("/stop");
        let key = request.split("Bearer ").nth(1)?.split_whitespace().next()?.to_owned();
        let (case, body) = (text("case")?.to_owned(), text("body")?.to_owned());
        (is_stream && is_run).then_some(Self { case, key, path, body })
    }

    /// What of the stream came whole, frame by frame.
    fn frames(&self) -> Vec<&str> {
        let whole = self.body.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        whole.split("\n\n").filter(|frame| !frame.is_empty()).collect()
    }
}

fn event(frame: &str) -> Option<Value> {
    serde_json::from_str(frame.strip_prefix("data:")?).ok()
}

fn recorded() -> Vec<Recorded> {
    let mut all = Vec::new();
    for folder in ["recordings", "recordings-1.14"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dify-sim").join(folder);
        let mut paths: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            let Ok(recording) = serde_json::from_str::<Value>(&text) else { continue };
            all.extend(Recorded::of(&recording));
        }
    }
    all
}

/// The mode of each app, by what its streams hold.
fn modes(all: &[Recorded]) -> HashMap<&str, Mode> {
    let mut modes = HashMap::new();
    for recorded in all {
        let mode = modes.entry(recorded.key.as_str()).or_insert(Mode::Chat);
        let has = |name: &str| recorded.body.contains(&format!("\"{name}\""));
        if recorded.path.starts_with("/v1/workflows/") {
            *mode = Mode::Workflow;
        } else if recorded.path == "/v1/completion-messages" {
            *mode = Mode::Completion;
        } else if has("workflow_started") {
            *mode = Mode::AdvancedChat;
        } else if has("agent_thought") {
            *mode = Mode::AgentChat;
        }
    }
    modes
}

/// Whether an event is one of those that end a run.
fn is_end(event: &Value) -> bool {
    matches!(
        event["event"].as_str(),
        Some("message_end" | "workflow_finished" | "workflow_paused" | "error")
    )
}

/// Whether an event says that the run failed.
fn says_failed(event: &Value) -> bool {
    let stop = |value: &Value| value.as_str().is_some_and(|it| it.contains("User requested stop"));
    match event["event"].as_str() {
        Some("error") => !stop(&event["message"]),
        Some("workflow_finished") => {
            event["data"]["status"] == "failed" && !stop(&event["data"]["error"])
        }
        _ => false,
    }
}

#[test]
fn every_recorded_run_ends_at_its_end_and_not_later() {
    let all = recorded();
    let modes = modes(&all);
    let (mut over, mut failed, mut stop) = (0, 0, 0);
    for recorded in &all {
        let (case, mode) = (&recorded.case, modes[recorded.key.as_str()]);
        let events: Vec<_> = recorded.frames().into_iter().map(event).collect();
        let is_last = |event: &Option<Value>| event.as_ref().is_some_and(is_end);
        let expected = events.iter().rposition(is_last);
        let mut decoder = StreamDecoder::new(mode, DecodeOptions::default(), "shop".into());
        let ended = recorded.frames().iter().position(|frame| {
            let frame = format!("{frame}\n\n");
            decoder.feed(frame.as_bytes(), &mut |_| {}) != &DecodeState::Running
        });
        assert_eq!(ended, expected, "{case} {mode:?}");
        let state = decoder.finish(&mut |_| {}).clone();
        let has_failed = events.iter().flatten().any(says_failed);
        match state {
            DecodeState::Finished => {
                assert!(expected.is_some() && !has_failed, "{case}");
                over += 1;
            }
            DecodeState::Failed(error) if expected.is_none() => {
                assert!(error.message.contains("broke off"), "{case}: {error:?}");
                stop += 1;
            }
            DecodeState::Failed(_) => {
                assert!(has_failed && decoder.remarks().is_some(), "{case}");
                failed += 1;
            }
            state => panic!("{case}: {state:?}"),
        }
    }
    assert!(over >= 145 && failed >= 37 && stop >= 28, "{over} {failed} {stop}");
}

#[test]
fn recorded_answers_are_told_whole() {
    let all = recorded();
    let modes = modes(&all);
    let mut compared = 0;
    for recorded in all.iter().filter(|it| modes[it.key.as_str()] == Mode::AdvancedChat) {
        let events: Vec<_> = recorded.frames().into_iter().filter_map(event).collect();
        let Some(end) = events.iter().find(|it| it["event"] == "workflow_finished") else {
            continue;
        };
        let Some(answer) = end["data"]["outputs"]["answer"].as_str() else { continue };
        // An address is signed anew each time.
        if end["data"]["status"] != "succeeded" || answer.contains("sign=") {
            continue;
        }
        let options = DecodeOptions { reasoning: Reasoning::Inline, ..DecodeOptions::default() };
        let listened = listen(Mode::AdvancedChat, options, &[recorded.body.as_bytes()]);
        // Dify sums an answer up with other line ends than it streamed.
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&listened.decoder.summary().text), words(answer), "{}", recorded.case);
        compared += 1;
    }
    assert!(compared >= 60, "{compared}");
}
