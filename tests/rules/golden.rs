//! What a client of each door is told, byte for byte: `tests/golden/<door>/<case>/`.
//!
//! | file | what it is |
//! |---|---|
//! | `request.json` | what the client sends |
//! | `app.json` | `mode` and `user_input_form` of the app, where it is not a plain chat |
//! | `events.sse` | what Dify sends; absent where the request is refused |
//! | `dify-request.json` | expected: what Dify is asked |
//! | `ignored.txt` | expected: fields that the client is told were ignored |
//! | `answer.sse`, `answer.json` | expected: the stream, or the whole answer |
//! | `refused.json` | expected: status and body, where there is no answer |
//!
//! Ids and times are those of Dify's events, so nothing has to be masked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use serde_json::{Value, json};

use difygate::adapter::run_request::{Body, InputMapping, RunContext};
use difygate::adapter::{
    AppEvent, AppInfo, Attachment, CompletionRequest, DecodeOptions, DecodeState, FileContent,
    FileLocation, FileRef, Protocol, ResponseEncoder, ResponseStart, StreamDecoder, anthropic,
    openai,
};
use difygate::model::GatewayError;

/// Set to anything, it makes the test write what it finds instead of comparing.
const WRITE: &str = "DIFYGATE_GOLDEN_WRITE";

/// How a door reads a request.
type Read = fn(&[u8]) -> Result<(CompletionRequest, Box<dyn ResponseEncoder>), GatewayError>;

/// The protocols, by the names of their folders.
const DOORS: &[(&str, Protocol, Read)] = &[
    ("chat", Protocol::OpenAi, |body| openai::chat::read(body).map(boxed)),
    ("completions", Protocol::OpenAi, |body| openai::completions::read(body).map(boxed)),
    ("messages", Protocol::Anthropic, |body| anthropic::read(body).map(boxed)),
    ("responses", Protocol::OpenAi, |body| openai::responses::read(body).map(boxed)),
];

/// Expected files, by name.
type Files = BTreeMap<&'static str, String>;

/// Every file that a case may expect.
const EXPECTED: [&str; 5] =
    ["dify-request.json", "ignored.txt", "answer.sse", "answer.json", "refused.json"];

fn boxed<V: ResponseEncoder + 'static>(
    (ask, voice): (CompletionRequest, V),
) -> (CompletionRequest, Box<dyn ResponseEncoder>) {
    (ask, Box::new(voice))
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The app of a case.
fn facts(case: &Path) -> AppInfo {
    let app = fs::read(case.join("app.json")).unwrap_or_else(|_| b"{\"mode\": \"chat\"}".to_vec());
    AppInfo::read(&app, &app).unwrap()
}

/// What Dify is asked, with files as if they had been uploaded in turn.
fn asked(ask: &CompletionRequest, facts: &AppInfo) -> Result<Value, GatewayError> {
    let place = |(number, attachment): (usize, &Attachment)| FileRef {
        kind: attachment.kind,
        place: match &attachment.content {
            FileContent::Data { name, .. } => {
                FileLocation::Uploaded(format!("upload-{number}-{name}"))
            }
            FileContent::Url(url) => FileLocation::Url(url.clone()),
        },
    };
    let files: Vec<_> = ask.question.attachments.iter().enumerate().map(place).collect();
    let conversation = ask.hints.conversation.as_deref();
    let user = ask.user.as_deref().unwrap_or("key");
    let run = RunContext { user, conversation, files: &files };
    let body = Body::new(ask, facts, &InputMapping::default(), run)?;
    Ok(serde_json::from_slice(&body.write().unwrap()).unwrap())
}

/// Hears a stream in pieces of so many bytes.
struct Listened {
    begun: Option<ResponseStart>,
    heard: Vec<AppEvent>,
    state: DecodeState,
    hearing: StreamDecoder,
}

fn listen(ask: &CompletionRequest, facts: &AppInfo, events: &[u8], piece_bytes: usize) -> Listened {
    let manner = DecodeOptions { stop: ask.stop.clone(), ..DecodeOptions::default() };
    let mut hearing = StreamDecoder::new(facts.mode, manner, ask.model.clone());
    let mut heard = Vec::new();
    for piece in events.chunks(piece_bytes) {
        hearing.feed(piece, &mut |one| heard.push(one));
    }
    let state = hearing.finish(&mut |one| heard.push(one)).clone();
    Listened { begun: hearing.response_start().cloned(), heard, state, hearing }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn refused(fault: &GatewayError, protocol: Protocol) -> String {
    let body: Value = serde_json::from_slice(&protocol.body(fault, "req_0")).unwrap();
    pretty(&json!({
        "status": fault.status,
        "x-should-retry": if fault.is_final { json!("false") } else { Value::Null },
        "retry-after": fault.retry_after_s,
        "body": body,
    }))
}

/// The answer to a request that Dify answered with these events.
fn answer(
    read: (CompletionRequest, Box<dyn ResponseEncoder>),
    (facts, events): (&AppInfo, &[u8]),
    (protocol, piece_bytes): (Protocol, usize),
) -> (&'static str, String) {
    let (ask, mut voice) = read;
    let listened = listen(&ask, facts, events, piece_bytes);
    let told = listened.hearing.summary();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let failed = match &listened.state {
        DecodeState::Failed(fault) => Some(fault),
        _ => None,
    };
    if let Some(fault) = failed.filter(|_| !ask.streamed || listened.heard.is_empty()) {
        return ("refused.json", refused(fault, protocol));
    }
    let begun = listened.begun.unwrap();
    if !ask.streamed {
        return ("answer.json", text(&voice.json_body(&begun, told)) + "\n");
    }
    let mut out = BytesMut::new();
    voice.start(&begun, &mut out);
    for heard in &listened.heard {
        voice.encode(heard, &mut out);
    }
    match failed {
        Some(fault) => voice.fail(fault, told, &mut out),
        None => voice.finish(told, &mut out),
    }
    ("answer.sse", text(&out))
}

/// All that a case should find in its folder.
fn play(case: &Path, protocol: Protocol, read: Read) -> Files {
    let request = fs::read(case.join("request.json")).unwrap();
    let mut files = Files::new();
    let ask = match read(&request) {
        Ok((ask, _)) => ask,
        Err(fault) => {
            files.insert("refused.json", refused(&fault, protocol));
            return files;
        }
    };
    if !ask.ignored.is_empty() {
        files.insert("ignored.txt", ask.ignored.join(", ") + "\n");
    }
    let facts = facts(case);
    match asked(&ask, &facts) {
        Ok(body) => files.insert("dify-request.json", pretty(&body)),
        Err(fault) => {
            files.insert("refused.json", refused(&fault, protocol));
            return files;
        }
    };
    let events = fs::read(case.join("events.sse")).unwrap();
    let told = |piece_bytes| {
        let read = read(&request).map_err(|fault| fault.message).unwrap();
        answer(read, (&facts, &events), (protocol, piece_bytes))
    };
    let (file, whole) = told(events.len());
    for piece_bytes in [1, 7, 1000] {
        assert_eq!(told(piece_bytes).1, whole, "{}: in pieces of {piece_bytes}", case.display());
    }
    files.insert(file, whole);
    files
}

#[test]
fn every_door_says_what_its_folder_expects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let write = std::env::var_os(WRITE).is_some();
    let mut differing = Vec::new();
    let mut count = 0;
    for folder in folders(&root) {
        let door = DOORS.iter().find(|(door, ..)| *door == name(&folder));
        let (_, protocol, read) = door.unwrap_or_else(|| panic!("no door `{}`", name(&folder)));
        for case in folders(&folder) {
            count += 1;
            let found = play(&case, *protocol, *read);
            for file in EXPECTED {
                let path = case.join(file);
                let expected = fs::read_to_string(&path).ok();
                match found.get(file) {
                    found if found == expected.as_ref() => {}
                    Some(text) if write => fs::write(path, text).unwrap(),
                    None if write => fs::remove_file(path).unwrap(),
                    found => differing.push(format!(
                        "{}\n--- expected\n{}\n+++ found\n{}",
                        path.display(),
                        expected.as_deref().unwrap_or("(no file)"),
                        found.map_or("(no file)", String::as_str),
                    )),
                }
            }
        }
    }
    assert!(count > 0, "no cases in {}", root.display());
    assert!(
        differing.is_empty(),
        "{}\n\nIf this is what it should be, run this test with {WRITE}=1 and read the diff.",
        differing.join("\n\n")
    );
}
