//! A small server that lists instances and breaks or heals them, for the command line.
//!
//! ```text
//! GET  /instances               [{"name", "url", "fault", "served", "open_connections"}, …]
//! POST /instances/<name>/fault  {"fault": "status", "value": 503}   what is now, as above
//! GET  /instances/<name>/runs   [{"user", "query", "inputs", "files", "end", …}, …] oldest first
//! ```
//! Faults: `none`, `frozen`, `black_hole`, `refused`, `stopped`, `killed`, `reset`,
//! `close_after_request`, `half_head`, `half_body`, `garbage`, `database_down`, `redis_down`, and
//! with a `value`: `cut_after` (bytes), `status` and `run_status` (200 to 599), `slow`
//! (milliseconds). Errors are 400, 404 or 405 with
//! `{"error": "<what is wrong and what would be right>"}`. One request a connection; no key, so
//! listen on loopback only.

use crate::Dify;
use crate::ran::Ran;
use crate::release::Release;
use crate::setup::Fault;
use crate::wire::head::{self, Framing, Head};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request, head and body.
const REQUEST_LIMIT: usize = 64 * 1024;
/// For a request to arrive and its answer to leave.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The words for a fault, as an error shows them.
const WORDS: &str = "none, frozen, black_hole, refused, stopped, killed, reset, \
    close_after_request, cut_after, half_head, half_body, garbage, status, run_status, slow, \
    database_down, redis_down, worker_killed, worker_absent";

/// Serves until the listener fails or the future is dropped. The names are those of the paths.
///
/// # Errors
/// That of the operating system, if no connection can be accepted any more.
pub async fn control(listener: TcpListener, instances: Vec<(String, Dify)>) -> io::Result<()> {
    let instances = Arc::new(instances);
    loop {
        let (stream, _) = listener.accept().await?;
        let instances = Arc::clone(&instances);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(TIME_LIMIT, serve(stream, &instances)).await;
        });
    }
}

/// An answer: its status and JSON body.
type Answer = (u16, Value);

async fn serve(mut stream: TcpStream, instances: &[(String, Dify)]) -> io::Result<()> {
    let (status, body) = match read(&mut stream).await? {
        Ok((head, body)) => answer(&head, &body, instances).await,
        Err(refused) => refused,
    };
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        _ => "Bad Request",
    };
    let body = format!("{body}\n");
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn error(status: u16, text: impl Into<String>) -> Answer {
    (status, json!({"error": text.into()}))
}

/// The request, or what is wrong with it.
async fn read(stream: &mut TcpStream) -> io::Result<Result<(Head, Vec<u8>), Answer>> {
    let mut bytes = Vec::new();
    loop {
        match head::read(&bytes, Release::default()) {
            Err(_) => return Ok(Err(error(400, "this is not HTTP/1.1"))),
            Ok(Some((head, start))) => {
                let Framing::Length(length) = head.framing else {
                    return Ok(Err(error(400, "send the body with a Content-Length")));
                };
                if length > REQUEST_LIMIT as u64 {
                    return Ok(Err(error(400, "the body is longer than 64 KiB")));
                }
                if (bytes.len() - start) as u64 >= length {
                    let body = bytes.split_off(start);
                    return Ok(Ok((head, body)));
                }
            }
            Ok(None) if bytes.len() > REQUEST_LIMIT => {
                return Ok(Err(error(400, "the head is longer than 64 KiB")));
            }
            Ok(None) => {}
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn answer(head: &Head, body: &[u8], instances: &[(String, Dify)]) -> Answer {
    let path = head.path();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (head.method.as_str(), parts.as_slice()) {
        ("GET", ["instances"]) => {
            (200, instances.iter().map(|(name, dify)| shown(name, dify)).collect())
        }
        ("POST", ["instances", name, "fault"]) => {
            match instances.iter().find(|(other, _)| other == name) {
                Some((name, dify)) => set(name, dify, body).await,
                None => error(404, format!("there is no instance {name:?}")),
            }
        }
        ("GET", ["instances", name, "runs"]) => {
            match instances.iter().find(|(other, _)| other == name) {
                Some((_, dify)) => (200, dify.runs().iter().map(run).collect()),
                None => error(404, format!("there is no instance {name:?}")),
            }
        }
        (_, ["instances"] | ["instances", _, "runs"]) => error(405, "use GET"),
        (_, ["instances", _, "fault"]) => error(405, "use POST"),
        _ => error(
            404,
            "there are GET /instances, POST /instances/<name>/fault and GET \
             /instances/<name>/runs",
        ),
    }
}

async fn set(name: &str, dify: &Dify, body: &[u8]) -> Answer {
    let fault = match serde_json::from_slice(body) {
        Ok(asked) => match parse(&asked) {
            Ok(fault) => fault,
            Err(text) => return error(400, text),
        },
        Err(problem) => {
            let text = format!("the body is not JSON: {problem}; send {{\"fault\": \"none\"}}");
            return error(400, text);
        }
    };
    match dify.set_fault(fault).await {
        Ok(()) => (200, shown(name, dify)),
        Err(problem) => error(500, format!("{name} cannot listen again: {problem}")),
    }
}

fn shown(name: &str, dify: &Dify) -> Value {
    let mut shown = json!({
        "name": name,
        "url": dify.url(),
        "fault": word(dify.fault()),
        "served": dify.served_count(),
        "open_connections": dify.open_connections(),
    });
    match dify.fault() {
        Fault::CutAfter(bytes) => shown["value"] = bytes.into(),
        Fault::Status(status) | Fault::RunStatus(status) => shown["value"] = status.into(),
        Fault::Slow(wait) => shown["value"] = (wait.as_millis() as u64).into(),
        _ => {}
    }
    shown
}

fn run(ran: &Ran) -> Value {
    json!({
        "key": ran.key,
        "user": ran.user,
        "query": ran.query,
        "inputs": ran.inputs,
        "files": ran.files,
        "streamed": ran.streamed,
        "continued": ran.continued,
        "auto_generate_name": ran.auto_generate_name,
        "conversation": ran.conversation,
        "message": ran.message,
        "task": ran.task,
        "workflow_run": ran.workflow_run,
        "end": ran.end.name(),
    })
}

fn word(fault: Fault) -> &'static str {
    match fault {
        Fault::None => "none",
        Fault::Frozen => "frozen",
        Fault::BlackHole => "black_hole",
        Fault::Refused => "refused",
        Fault::Stopped => "stopped",
        Fault::Killed => "killed",
        Fault::Reset => "reset",
        Fault::CloseAfterRequest => "close_after_request",
        Fault::CutAfter(_) => "cut_after",
        Fault::HalfHead => "half_head",
        Fault::HalfBody => "half_body",
        Fault::Garbage => "garbage",
        Fault::Status(_) => "status",
        Fault::RunStatus(_) => "run_status",
        Fault::Slow(_) => "slow",
        Fault::DatabaseDown => "database_down",
        Fault::RedisDown => "redis_down",
        Fault::WorkerKilled => "worker_killed",
        Fault::WorkerAbsent => "worker_absent",
    }
}

/// The fault a JSON object asks for.
fn parse(asked: &Value) -> Result<Fault, String> {
    let Some(word) = asked.get("fault").and_then(Value::as_str) else {
        return Err(format!("say {{\"fault\": …}} with one of: {WORDS}"));
    };
    let value = asked.get("value").filter(|value| !value.is_null());
    let number = |what: &str| {
        value
            .and_then(Value::as_u64)
            .ok_or_else(|| format!("{word} wants a \"value\": {what}, a whole number"))
    };
    let fault = match word {
        "cut_after" => return Ok(Fault::CutAfter(number("bytes of the answer")?)),
        "slow" => return Ok(Fault::Slow(Duration::from_millis(number("milliseconds")?))),
        "status" => return Ok(Fault::Status(status(number("the status")?)?)),
        "run_status" => return Ok(Fault::RunStatus(status(number("the status")?)?)),
        "none" => Fault::None,
        "frozen" => Fault::Frozen,
        "black_hole" => Fault::BlackHole,
        "refused" => Fault::Refused,
        "stopped" => Fault::Stopped,
        "killed" => Fault::Killed,
        "reset" => Fault::Reset,
        "close_after_request" => Fault::CloseAfterRequest,
        "half_head" => Fault::HalfHead,
        "half_body" => Fault::HalfBody,
        "garbage" => Fault::Garbage,
        "database_down" => Fault::DatabaseDown,
        "redis_down" => Fault::RedisDown,
        "worker_killed" => Fault::WorkerKilled,
        "worker_absent" => Fault::WorkerAbsent,
        other => return Err(format!("there is no fault {other:?}; there are: {WORDS}")),
    };
    if value.is_some() {
        return Err(format!("{word} takes no \"value\""));
    }
    Ok(fault)
}

fn status(number: u64) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(status @ 200..600) => Ok(status),
        _ => Err(format!("status {number} is not between 200 and 599")),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, word};
    use crate::Fault;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn every_word_is_the_fault_it_names() {
        for name in super::WORDS.split(", ") {
            let with = json!({"fault": name, "value": 503});
            let without = json!({"fault": name});
            let fault = parse(&with).or_else(|_| parse(&without)).unwrap();
            assert_eq!(word(fault), name);
        }
        let slow = parse(&json!({"fault": "slow", "value": 1500})).unwrap();
        assert_eq!(slow, Fault::Slow(Duration::from_millis(1500)));
    }

    #[test]
    fn a_wrong_request_says_what_would_be_right() {
        assert!(parse(&json!({"fault": "frozn"})).unwrap_err().contains("frozen"));
        assert!(parse(&json!({"fault": "status"})).unwrap_err().contains("whole number"));
        assert!(parse(&json!({"fault": "status", "value": 99})).unwrap_err().contains("200"));
        assert!(parse(&json!({"fault": "none", "value": 1})).unwrap_err().contains("no"));
        assert!(parse(&json!([])).unwrap_err().contains("fault"));
    }
}
