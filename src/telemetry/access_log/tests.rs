use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;

use super::{
    AccessLog, Batch, Counter, Destination, Entry, FailedAttempt, Format, Message, Output, write,
};

fn entry<'a>(user: &'a str, agent: &'a str) -> Entry<'a> {
    Entry {
        time: Timestamp::from_second(1_795_248_068).unwrap(),
        request_id: "r-1",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: "POST",
        path: "/v1/chat-messages",
        status: 200,
        reason: "answered",
        app: Some("shop"),
        key: Some("team"),
        user: Some(user),
        instance: Some("dify1"),
        failed_attempts: &[],
        bytes_in: 82,
        bytes_out: 682,
        prompt_tokens: None,
        completion_tokens: None,
        total_tokens: Some(19),
        first_byte_ms: Some(12.5),
        duration_ms: 13.0,
        detail: None,
        protocol: "HTTP/1.1",
        referer: None,
        user_agent: Some(agent),
    }
}

/// What the log holds after `entry`, in a file.
fn written(format: Format, entry: &Entry<'_>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(format, Destination::File(path.clone())).unwrap();
    let mut batch = Batch::new(Some(log.sink()));
    batch.push(entry);
    drop(batch);
    log.finish();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_line_of_each_format() {
    let entry = entry("alice", "curl/8");
    assert_eq!(
        written(Format::Combined, &entry).trim_end(),
        "127.0.0.1 - alice [21/Nov/2026:08:01:08 +0000] \"POST /v1/chat-messages HTTP/1.1\" 200 682 \
         \"-\" \"curl/8\""
    );
    assert_eq!(
        written(Format::Live, &entry).trim_end(),
        "08:01:08          alice -> dify1    200    13.0 ms  POST /v1/chat-messages"
    );
    let coloured = written(Format::LiveInColour, &entry);
    assert!(coloured.contains(" \u{1b}[32m200\u{1b}[0m "), "{coloured:?}");
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &entry)).unwrap();
    assert_eq!(json["time"], "2026-11-21T08:01:08Z");
    assert_eq!(json["instance"], "dify1");
    assert_eq!(json["key"], "team");
}

#[test]
fn attempts_that_failed_are_named_with_why() {
    let failed = [("dify2", "connect_failed"), ("dify3", "not_here")];
    let failed = failed.map(|(instance, why)| FailedAttempt { instance, why });
    let entry = Entry { failed_attempts: &failed, ..entry("alice", "curl/8") };
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &entry)).unwrap();
    let expected = ["dify2: connect_failed", "dify3: not_here"];
    assert_eq!(json["failed_attempts"], serde_json::json!(expected));
    assert!(written(Format::Live, &entry).contains("  after dify2: connect_failed"));
}

#[test]
fn a_line_that_is_watched_is_written_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(Format::Live, Destination::File(path.clone())).unwrap();
    let mut batch = Batch::new(Some(log.sink()));
    batch.push(&entry("alice", "a"));
    // The batch is neither full nor dropped.
    while std::fs::metadata(&path).unwrap().len() == 0 {
        std::thread::yield_now();
    }
    drop(batch);
    log.finish();
}

#[test]
fn no_client_can_write_a_line_of_its_own() {
    let entry = entry("eve\n127.0.0.1 - root", "x\"\r\nfake");
    for format in [Format::Json, Format::Combined, Format::Live, Format::LiveInColour] {
        assert_eq!(written(format, &entry).lines().count(), 1, "{format:?}");
    }
}

#[test]
fn a_rotated_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(Format::Json, Destination::File(path.clone())).unwrap();
    let mut batch = Batch::new(Some(log.sink()));
    batch.push(&entry("before", "a"));
    batch.flush();
    // The writer works through its messages in order, so the move must wait for the first line.
    while std::fs::metadata(&path).unwrap().len() == 0 {
        std::thread::yield_now();
    }
    std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    log.reopen();
    batch.push(&entry("after", "a"));
    drop(batch);
    log.finish();
    assert!(std::fs::read_to_string(&path).unwrap().contains("after"));
    assert!(
        std::fs::read_to_string(folder.path().join("access.log.1")).unwrap().contains("before")
    );
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let path = "/nonexistent/folder/access.log";
    let error = AccessLog::start(Format::Json, Destination::File(path.into())).err().unwrap();
    assert!(error.to_string().contains(path), "{error}");
}

#[test]
fn a_new_log_is_for_its_owner_and_group() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    AccessLog::start(Format::Json, Destination::File(path.clone())).unwrap().finish();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    // What a umask takes away besides is the operator's own choice.
    assert_eq!((mode & 0o600, mode & !0o640), (0o600, 0), "{mode:o}");
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    std::fs::write(&path, "").unwrap();
    // Opened to be read: each write to it fails.
    let file = Some(std::fs::File::open(&path).unwrap());
    let output = Output { destination: Destination::File(path.clone()), file };
    let (sender, messages) = std::sync::mpsc::sync_channel(4);
    for _ in 0..2 {
        sender.send(Message::Lines(b"lost\n".to_vec())).unwrap();
    }
    sender.send(Message::Reopen).unwrap();
    sender.send(Message::Lines(b"kept\n".to_vec())).unwrap();
    drop(sender);
    let lost = Counter::default();
    write(output, messages, &lost);
    assert_eq!(lost.get(), 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
}
