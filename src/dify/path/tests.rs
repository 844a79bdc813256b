//! Every route, and what is none.

use http::Method;

use super::{CallKind, Id, Run, TextId, allowed_methods, classify, is_service_api, starts_run};

const UUID: &str = "02b4ca2f-e6b9-4817-9796-79ad0513ede0";

const POST: Option<&str> = Some("POST, OPTIONS");
const GET: Option<&str> = Some("GET, HEAD, OPTIONS");

#[test]
fn every_route_of_dify_is_known_with_its_methods() {
    for (path, kind, allow) in [
        ("/v1/", CallKind::Root, GET),
        ("/v1/chat-messages", CallKind::Run(Run::Chat), POST),
        ("/v1/chat-messages/t-1/stop", CallKind::Stop(Run::Chat), POST),
        ("/v1/completion-messages", CallKind::Run(Run::Completion), POST),
        ("/v1/completion-messages/t/stop", CallKind::Stop(Run::Completion), POST),
        ("/v1/workflows/run", CallKind::Run(Run::Workflow), POST),
        ("/v1/workflows/w/run", CallKind::Run(Run::Workflow), POST),
        ("/v1/workflows/tasks/t/stop", CallKind::Stop(Run::Workflow), POST),
        ("/v1/workflows/run/abc", CallKind::WorkflowRunDetail, GET),
        ("/v1/workflow/abc/events", CallKind::WorkflowEvents, GET),
        ("/v1/workflows/logs", CallKind::WorkflowLogs, GET),
        ("/v1/files/upload", CallKind::Upload, POST),
        ("/v1/files/{}/preview", CallKind::FilePreview, GET),
        ("/v1/audio-to-text", CallKind::AudioToText, POST),
        ("/v1/text-to-audio", CallKind::TextToAudio, POST),
        ("/v1/conversations", CallKind::Conversations, GET),
        ("/v1/conversations/{}", CallKind::Conversation, Some("DELETE, OPTIONS")),
        ("/v1/conversations/{}/name", CallKind::ConversationName, POST),
        ("/v1/conversations/{}/variables", CallKind::ConversationVariables, GET),
        ("/v1/conversations/{}/variables/{}", CallKind::ConversationVariable, Some("PUT, OPTIONS")),
        ("/v1/messages", CallKind::Messages, GET),
        ("/v1/messages/{}/feedbacks", CallKind::Feedback, POST),
        ("/v1/messages/{}/suggested", CallKind::Suggested, GET),
        ("/v1/app/feedbacks", CallKind::AppFeedbacks, GET),
        ("/v1/info", CallKind::Info, GET),
        ("/v1/parameters", CallKind::Parameters, GET),
        ("/v1/meta", CallKind::Meta, GET),
        ("/v1/site", CallKind::Site, GET),
        ("/v1/form/human_input/f", CallKind::HumanInputForm, Some("GET, HEAD, POST, OPTIONS")),
        ("/v1/end-users/{}", CallKind::EndUser, GET),
        ("/v1/apps/annotations", CallKind::Annotations, Some("GET, HEAD, POST, OPTIONS")),
        ("/v1/apps/annotations/{}", CallKind::Annotation, Some("PUT, DELETE, OPTIONS")),
        ("/v1/apps/annotation-reply/enable", CallKind::AnnotationReply, POST),
        ("/v1/apps/annotation-reply/enable/status/{}", CallKind::AnnotationReplyStatus, GET),
        ("/v1/datasets", CallKind::DatasetList, None),
        ("/v1/datasets/{}/documents/{}/segments/{}/child_chunks/{}", CallKind::Datasets, None),
        ("/v1/workspaces/current/models/model-types/llm", CallKind::Datasets, None),
        ("/v1/knowledge-fs/query-stream", CallKind::Datasets, None),
        ("/files/{}/file-preview", CallKind::SignedFile, GET),
        ("/files/{}/image-preview", CallKind::SignedFile, GET),
        ("/files/tools/{}.png", CallKind::SignedFile, GET),
        ("/mcp/server/u1WeaAPJCdCKIHnc/mcp", CallKind::McpServer, POST),
    ] {
        let path = path.replace("{}", UUID);
        assert_eq!(classify(&path).kind, kind, "{path}");
        assert_eq!(allowed_methods(&path), allow, "{path}");
    }
}

#[test]
fn what_dify_answers_404_to_is_unknown() {
    for path in [
        "/v1",
        "/v1/nope",
        "/v1/chat-messages/",
        "/v1/chat-messages//stop",
        "/v1/conversations/abc",
        "/v1/conversations/abc/name",
        "/v1/conversations/02b4ca2fxe6b9-4817-9796-79ad0513ede0",
        "/v1/messages/1/feedbacks",
        "/v1/datasetsx",
        "/v1//info",
        "/v1/a/b/c/d/e/f/g",
        "/v2/info",
        "/console/api/setup",
        "/files/upload/for-plugin",
        "/files/abc/file-preview",
        "/files/02b4ca2f-e6b9-4817-9796-79ad0513ede0",
        "/files/02b4ca2f-e6b9-4817-9796-79ad0513ede0/file-preview/",
        "/files/02b4ca2f-e6b9-4817-9796-79ad0513ede0/file-preview/../x",
        "/files/tools/02b4ca2f-e6b9-4817-9796-79ad0513ede0",
        "/files/tools/02b4ca2f-e6b9-4817-9796-79ad0513ede0.",
        "/files/tools/02b4ca2f-e6b9-4817-9796-79ad0513ede0.png/../x",
        "/files/tools/../02b4ca2f-e6b9-4817-9796-79ad0513ede0.png",
        "//files/02b4ca2f-e6b9-4817-9796-79ad0513ede0/file-preview",
        "/files/../console/api/setup",
        "/mcp/server//mcp",
        "/mcp/server/abc",
        "/mcp/server/a/b/mcp",
        "/mcp/server/../mcp",
        "/mcp/server/%2e%2e/mcp",
        "",
    ] {
        assert_eq!(classify(path).kind, CallKind::Unknown, "{path}");
        assert_eq!(allowed_methods(path), None, "{path}");
    }
}

#[test]
fn the_id_in_a_path_is_given() {
    for (path, id) in [
        ("/v1/chat-messages/t-1/stop", Id::Task("t-1")),
        ("/v1/workflows/tasks/t-2/stop", Id::Task("t-2")),
        ("/v1/workflows/run/r-1", Id::WorkflowRun("r-1")),
        ("/v1/workflow/r-2/events", Id::WorkflowRun("r-2")),
        ("/v1/workflows/w-1/run", Id::Workflow("w-1")),
        ("/v1/conversations/{}/name", Id::Conversation(UUID)),
        ("/v1/messages/{}/suggested", Id::Message(UUID)),
        ("/v1/files/{}/preview", Id::File(UUID)),
        ("//v1/apps/annotations/{}", Id::Annotation(UUID)),
        ("/v1/apps/annotation-reply/enable/status/{}", Id::AnnotationJob(UUID)),
        ("/v1/end-users/{}", Id::EndUser(UUID)),
        ("/v1/conversations/{}/variables", Id::Conversation(UUID)),
        ("/v1/conversations/{}/variables/{}", Id::Conversation(UUID)),
        ("/v1/form/human_input/oEcgx6CHnmFM96Eoel4b4R", Id::Form("oEcgx6CHnmFM96Eoel4b4R")),
        ("/v1/datasets/{}", Id::Dataset(UUID)),
        ("/v1/datasets/{}/document/create_by_text", Id::Dataset(UUID)),
        ("/v1/datasets/{}/documents/{}/segments/{}/child_chunks/{}", Id::Dataset(UUID)),
        ("/v1/datasets/{}/documents/20261129233327314762/indexing-status", Id::Dataset(UUID)),
        ("/files/{}/file-preview", Id::File(UUID)),
        ("/files/tools/{}.png", Id::File(UUID)),
        ("/mcp/server/u1WeaAPJCdCKIHnc/mcp", Id::McpServer("u1WeaAPJCdCKIHnc")),
    ] {
        let path = path.replace("{}", UUID);
        assert_eq!(classify(&path).id, Some(id), "{path}");
    }
    assert_eq!(classify("/v1/chat-messages").id, None);
    let path = format!("/v1/chat-messages/{UUID}/stop");
    let id = classify(&path).id.and_then(|id| id.key());
    assert_eq!(id.map(|id| id.to_string()).as_deref(), Some(UUID));
    assert_eq!(Id::Task("t-1").key(), None);
    for path in ["/v1/datasets", "/v1/datasets/tags", "/v1/datasets/tags/binding"] {
        assert_eq!(classify(path).id, None, "{path}");
    }
}

#[test]
fn ids_that_are_no_uuids_are_told_apart_by_kind_and_text() {
    let form = Id::Form("oEcgx6CHnmFM96Eoel4b4R").key();
    assert_eq!(form, Some(TextId::Form.key("oEcgx6CHnmFM96Eoel4b4R")));
    assert_ne!(form, Id::Form("oEcgx6CHnmFM96Eoel4b4r").key());
    assert_ne!(form, Id::McpServer("oEcgx6CHnmFM96Eoel4b4R").key());
    // Not of our own making: xxh3_128 of `form:oEcgx6CHnmFM96Eoel4b4R` by the reference code.
    assert_eq!(form, "2ed5b42d-b4fe-237b-e890-1942f2c1583e".parse().ok());
}

#[test]
fn only_posts_to_the_three_run_calls_start_a_run() {
    for path in [
        "/v1/chat-messages",
        "//v1/completion-messages",
        "/v1/workflows/run",
        "/v1/workflows/w/run",
    ] {
        assert!(starts_run(&Method::POST, path), "{path}");
        assert!(!starts_run(&Method::OPTIONS, path), "{path}");
    }
    for path in ["/v1/chat-messages/t/stop", "/v1/files/upload", "/v1/workflows/run/r", "/"] {
        assert!(!starts_run(&Method::POST, path), "{path}");
    }
}

#[test]
fn the_service_api_is_v1_and_what_is_below_it() {
    for path in ["/v1", "/v1/", "/v1/info", "//v1/info", "/v1/nope", "/v1/a..b/...", "/v1/%2e"] {
        assert!(is_service_api(path), "{path}");
    }
    for path in ["", "/", "v1/info", "/v10/info", "/v1x", "/V1/info", "/console/api/v1/"] {
        assert!(!is_service_api(path), "{path}");
    }
}

#[test]
fn a_path_that_climbs_out_is_not_the_service_api() {
    for path in [
        "/v1/../console/api/setup",
        "/v1/..",
        "/v1/x/../../console",
        "/v1/%2e%2E/console",
        "/v1/.%2e/console",
        "/v1/..%2fconsole",
        "/v1/x%2f..%2F..%2fconsole",
        "//v1/../console",
    ] {
        assert!(!is_service_api(path), "{path}");
        assert_eq!(classify(path).kind, CallKind::Unknown, "{path}");
    }
}
