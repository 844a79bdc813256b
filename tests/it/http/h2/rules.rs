//! RFC 9113: what becomes of clients that break it, or wear out the gateway.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::cases::{
    Case, ENHANCE_YOUR_CALM, Must, PROTOCOL_ERROR, REFUSED_STREAM, also, frames, messages, post,
};
use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, PING, PREFACE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame, get, request,
};
use crate::rig::tls::{PATIENCE, Secured};

#[tokio::test]
async fn the_rules_of_rfc_9113_are_kept() {
    let secured = Secured::start().await;
    let (mut failed, mut count) = (Vec::new(), 0);
    for Case { section, what, bytes, must } in frames().into_iter().chain(messages()) {
        count += 1;
        let mut frames = Frames::open(secured.addr(), secured.authority.client(), None).await;
        frames.send(&bytes).await;
        let on = match must {
            Must::Ignore => {
                frames.send(&get(101)).await;
                101
            }
            _ => 1,
        };
        let mut outcome = frames.outcome(on).await;
        while matches!(outcome, Outcome::Pong(_))
            || matches!((&outcome, &must), (Outcome::Status(_), Must::Fail(_) | Must::End(_)))
        {
            // An answer that was already on its way.
            outcome = frames.outcome(on).await;
        }
        let kept = match (&must, &outcome) {
            (Must::End(code), Outcome::Goaway(found)) => [*code, PROTOCOL_ERROR].contains(found),
            (Must::End(_), Outcome::Closed) => true,
            (Must::Fail(codes), Outcome::Goaway(found)) => {
                codes.contains(found) || *found == PROTOCOL_ERROR
            }
            (Must::Fail(codes), Outcome::Reset(found)) => codes.contains(found),
            (Must::Answer(status), Outcome::Status(found)) => status == found,
            (Must::Ignore, Outcome::Status(200)) => true,
            _ => false,
        };
        if !kept {
            failed.push(format!("§{section} {what}: {outcome:?}"));
        }
    }
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    assert!(count >= 85, "{count}");
}

#[tokio::test]
async fn what_is_no_http2_is_hung_up_on() {
    let secured = Secured::start().await;
    for begin in
        [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &PREFACE[..20], b"\0\0\0\0\0\0\0\0\0"]
    {
        let begin = [begin, &[b'x'; 64]].concat();
        let mut frames =
            Frames::open(secured.addr(), secured.authority.client(), Some(&begin)).await;
        let outcome = frames.outcome(1).await;
        assert!(
            matches!(outcome, Outcome::Closed | Outcome::Goaway(PROTOCOL_ERROR)),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_ping_comes_back_as_it_was() {
    let secured = Secured::start().await;
    let mut frames = Frames::open(secured.addr(), secured.authority.client(), None).await;
    frames.send(&frame(PING, 0, 0, b"difygate")).await;
    assert_eq!(frames.outcome(1).await, Outcome::Pong(b"difygate".into()));
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let secured = Secured::with("limits: { h2_streams: 2 }").await;
    let mut frames = Frames::open(secured.addr(), secured.authority.client(), None).await;
    let mut bytes = Vec::new();
    for stream in [1_u8, 3, 5] {
        let mut head = post(&[("content-type", "application/json")]);
        head[8] = stream;
        bytes.extend(head);
    }
    // The gateway's settings are known when it answers.
    frames.send(&frame(PING, 0, 0, b"settings")).await;
    assert!(matches!(frames.outcome(5).await, Outcome::Pong(_)));
    frames.send(&frame(SETTINGS, ACK, 0, &[])).await;
    frames.send(&bytes).await;
    let outcome = frames.outcome(5).await;
    assert!(matches!(outcome, Outcome::Reset(REFUSED_STREAM | PROTOCOL_ERROR)), "{outcome:?}");
}

#[tokio::test]
async fn who_takes_back_request_after_request_is_cut_off() {
    let secured = Secured::with("limits: { h2_streams: 10 }").await;
    let mut frames = Frames::open(secured.addr(), secured.authority.client(), None).await;
    for number in 0..2_000_u32 {
        let stream = 2 * number + 1;
        let mut pair = post(&[]);
        pair[5..9].copy_from_slice(&stream.to_be_bytes());
        pair.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        frames.send(&pair).await;
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let outcome = frames.outcome(99_999).await;
    assert!(matches!(outcome, Outcome::Goaway(ENHANCE_YOUR_CALM) | Outcome::Closed), "{outcome:?}");
    // Others are served.
    let mut other = Frames::open(secured.addr(), secured.authority.client(), None).await;
    other.send(&get(1)).await;
    assert_eq!(other.outcome(1).await, Outcome::Status(200));
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let secured = Secured::start().await;
    let mut frames = Frames::open(secured.addr(), secured.authority.client(), None).await;
    frames.send(&frame(HEADERS, END_STREAM, 1, &request("GET", &[]))).await;
    let piece = frame(CONTINUATION, 0, 1, &fields(&[("x", "y".repeat(1000).as_str())]));
    for _ in 0..1_000 {
        frames.send(&piece).await;
    }
    frames.send(&frame(CONTINUATION, END_HEADERS, 1, &[])).await;
    let outcome = frames.outcome(1).await;
    let cut = matches!(outcome, Outcome::Goaway(_) | Outcome::Closed | Outcome::Status(431));
    assert!(cut, "{outcome:?}");
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused_and_the_next_is_not() {
    let secured = Secured::with("limits: { header_bytes: 8KiB }").await;
    let mut frames = Frames::open(secured.addr(), secured.authority.client(), None).await;
    let long = "y".repeat(9_000);
    frames.send(&also(&[("x", long.as_str())])).await;
    assert_eq!(frames.outcome(1).await, Outcome::Status(431));
    frames.send(&get(3)).await;
    assert_eq!(frames.outcome(3).await, Outcome::Status(200));
}

/// A streamed chat turn on a stream.
fn chat(stream: u32, tokens: u32) -> Vec<u8> {
    let mut head = post(&[("content-type", "application/json")]);
    head[5..9].copy_from_slice(&stream.to_be_bytes());
    let body = json!({
        "inputs": {}, "query": format!("tokens {tokens} 0.01"), "response_mode": "streaming",
        "user": format!("user-{stream}"),
    });
    [head, frame(DATA, END_STREAM, stream, body.to_string().as_bytes())].concat()
}

/// Opens the window of a stream, or of the connection, by so many bytes.
fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

#[tokio::test]
async fn a_stream_that_stands_still_is_ended_beside_one_that_moves() {
    const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
    let secured = Secured::with("timeouts: { write: 2s }").await;
    // No stream has room until it is given some.
    let no_room = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let begin = [PREFACE, &no_room, &window(0, 1 << 24)].concat();
    let mut frames = Frames::open(secured.addr(), secured.authority.client(), Some(&begin)).await;
    frames.send(&[chat(1, 5_000), chat(3, 400)].concat()).await;
    let ended = async {
        // The other one takes a little at a time, and is let be.
        loop {
            frames.send(&[window(3, 1000), frame(PING, 0, 0, b"difygate")].concat()).await;
            loop {
                match frames.next().await.expect("the connection ended") {
                    (RST_STREAM, _, 1, code) => return assert_eq!(code, CANCEL),
                    (RST_STREAM, _, on, code) => panic!("{on} was ended: {code:?}"),
                    (PING, flags, ..) if flags & ACK != 0 => break,
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it was let stand");
    frames.send(&window(3, 1 << 20)).await;
    let whole = async {
        loop {
            match frames.next().await.expect("the connection ended") {
                (DATA, flags, 3, _) if flags & END_STREAM != 0 => return,
                (RST_STREAM, _, on, code) => panic!("{on} was ended: {code:?}"),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, whole).await.expect("the other one has no end");
    secured
        .rig
        .until_status(|status| {
            let shop = &status["applications"]["shop"];
            shop["stopped"] == 1 && shop["instances"]["dify1"]["in_flight"] == 0
        })
        .await;
}
