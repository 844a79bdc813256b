//! Recorded refusals of both generations of Dify, and texts that only look like them.

use super::{Recording, recordings_in};
use crate::dify::path::{CallKind, Run};
use crate::dify::response_body::{KnownRefusal, is_newer_route, refusal};

/// By what a refusal says in Dify's words, without a parser.
fn expected(answer: &Recording) -> Option<KnownRefusal> {
    let has = |text: &str| answer.body.contains(text);
    let other = ["\"First Message Not", "\"Conversation Variable Not", "upload file id format"];
    // In an event of a stream it is no refusal.
    if answer.status == 200 || other.iter().any(|text| has(text)) {
        return None;
    }
    let not_here = [
        "Not Exists.",
        "\"Invalid upload file\"",
        "\"Workflow run not found",
        "\"Workflow not found with id",
        "\"Form not found",
        "\"Annotation not found",
        "\"Dataset not found",
        "\"File not found in message context",
        "\"File not found or signature",
        "\"End user not found",
        "\"The job does not exist",
    ];
    if not_here.iter().any(|text| has(text)) {
        Some(KnownRefusal::NotHere)
    } else {
        has("\"Too many requests").then_some(KnownRefusal::Busy)
    }
}

#[test]
fn recorded_refusals_are_told_apart() {
    for (folder, counts) in
        [("dify-sim/recordings", (30, 2)), ("dify-sim/recordings-1.14", (94, 6))]
    {
        let (mut not_here, mut busy) = (0, 0);
        for answer in recordings_in(folder) {
            let found = refusal(answer.kind, answer.status, answer.body.as_bytes());
            assert_eq!(found, expected(&answer), "{} {}", answer.case, answer.body);
            not_here += usize::from(found == Some(KnownRefusal::NotHere));
            busy += usize::from(found == Some(KnownRefusal::Busy));
        }
        assert_eq!((not_here, busy), counts, "{folder}");
    }
}

#[test]
fn refusals_that_only_look_alike_are_none() {
    let body = |code: &str, message: &str| {
        format!(r#"{{"code": "{code}", "message": "{message}", "status": 400}}"#)
    };
    let hint =
        " You have requested this URI [\\/v1\\/messages] but did you mean \\/v1\\/messages ?";
    let hinted = |text: &str| format!("{text}{hint}");
    let run = CallKind::Run(Run::Chat);
    for (kind, status, code, message, expected) in [
        (run, 404, "not_found", "Conversation Not Exists", Some(KnownRefusal::NotHere)),
        (run, 404, "not_found", &hinted("Conversation Not Exists."), Some(KnownRefusal::NotHere)),
        (run, 400, "invalid_param", "Invalid upload file.", Some(KnownRefusal::NotHere)),
        (run, 404, "not_found", "Workflow not found with id: 7", Some(KnownRefusal::NotHere)),
        (run, 429, "too_many_requests", "Busy", Some(KnownRefusal::Busy)),
        (CallKind::Info, 404, "not_found", "Workflow not found with id: 7", None),
        (run, 400, "invalid_param", "The job does not exist.", None),
        (run, 404, "not_found", "Conversation Not Exists. Or so it seems", None),
        (run, 404, "file_not_found", "Conversation Not Exists.", None),
        (run, 400, "invalid_param", "Invalid upload file id format", None),
        (run, 400, "invalid_param", "Run failed: Too many requests. Please try again later.", None),
        (run, 400, "invalid_param", "Run failed: Invalid upload file", None),
        (run, 400, "completion_request_error", "Too many requests. Please try again later.", None),
        (run, 400, "invalid_param", "Too many requests for this model", None),
        (run, 400, "invalid_param", "Conversation Not Exists.", None),
        (run, 404, "not_found", "Run failed: Conversation Not Exists.", None),
        (run, 404, "not_found", "First Message Not Exists.", None),
        (run, 404, "not_found", "Conversation Variable Not Exists.", None),
        (run, 404, "not_found", "The requested URL was not found on the server.", None),
        (run, 500, "invalid_param", "Invalid upload file", None),
    ] {
        let body = body(code, message);
        assert_eq!(refusal(kind, status, body.as_bytes()), expected, "{status} {body}");
    }
    for body in ["", "null", "[]", "{}", "<html>Conversation Not Exists.</html>"] {
        assert_eq!(refusal(run, 404, body.as_bytes()), None, "{body}");
    }
}

#[test]
fn a_route_that_an_older_dify_lacks_is_known() {
    assert!(is_newer_route(CallKind::HumanInputForm) && is_newer_route(CallKind::FilePreview));
    assert!(!is_newer_route(CallKind::Messages) && !is_newer_route(CallKind::Run(Run::Chat)));
}
