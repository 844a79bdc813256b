//! What nodes of flows that call a server say of it.

use super::nodes::Result as NodeResult;
use crate::pyjson;
use crate::release::Release;

/// What a node says that cannot reach its server.
pub(super) const REFUSED: &str = "[Errno 111] Connection refused";

/// `process_data` of the node that waits; the number stands in its path.
pub(super) fn slow_request(seconds: &str) -> String {
    let request = format!("GET /slow/{seconds} HTTP/1.1\r\nHost: 127.0.0.1:58080\r\n\r\n");
    format!("{{\"request\": {}}}", pyjson::quote(&request))
}

/// `outputs` of the node that waits.
pub(super) fn slow_outputs(body: &str, release: Release) -> String {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let python = if release.is_restx() { "3.12.1" } else { "3.11.7" };
    format!(
        "{{\"status_code\": 200, \"body\": \"{body}\", \"headers\": {{\"server\": \
         \"BaseHTTP/0.6 Python/{python}\", \"date\": \"{date}\", \"content-type\": \"text/plain\", \
         \"content-length\": \"{}\"}}, \"files\": []}}",
        body.len()
    )
}

/// `process_data` of the node whose server is not there.
pub(super) fn bad_request() -> String {
    format!("{{\"request\": {}}}", pyjson::quote("GET / HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n"))
}

/// What its outputs say of that.
pub(super) fn failure_outputs() -> String {
    format!("\"error_message\": \"{REFUSED}\", \"error_type\": \"HttpRequestNodeError\"")
}

/// The result of a node that failed and was got over in this way.
pub(super) fn got_over<'a>(result: &NodeResult<'a>, strategy: &'static str) -> NodeResult<'a> {
    NodeResult {
        inputs: result.inputs,
        process_data: result.process_data,
        outputs: result.outputs,
        status: "exception",
        error: Some("Unknown error"),
        elapsed: result.elapsed,
        metadata: match strategy {
            "default-value" => "{\"error_strategy\": \"default-value\"}",
            _ => "{\"error_strategy\": \"fail-branch\"}",
        },
        files: result.files,
        finished_at: result.finished_at,
    }
}
