//! What the parts of a request's way cost by themselves: the readers of bodies and answers, the
//! choice of an instance, the splitter of events, and what AI clients are told. `make bench-micro`
//! runs them.

#![expect(clippy::unwrap_used, reason = "an input that is wrong ends the run")]

use std::fmt::Write;

use bytes::BytesMut;
use difygate::adapter::{DecodeOptions, Mode, ResponseEncoder, StreamDecoder, anthropic, openai};
use difygate::balance::{HashAlgorithm, Rendezvous, Ring};
use difygate::dify::path::{CallKind, Run};
use difygate::dify::response_body::learn_json;
use difygate::dify::scan::BodyScanner;
use difygate::sse::Splitter;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// A chat of so many bytes with its user at the end.
fn chat(bytes: usize) -> String {
    let begin = r#"{"inputs": {"topic": "ordinary"}, "response_mode": "streaming", "query": ""#;
    let end = r#"", "conversation_id": "", "files": [], "user": "user-00042"}"#;
    let words = "what is the shortest way from here to there? ";
    let room = bytes - begin.len() - end.len();
    let query: String = words.chars().cycle().take(room).collect();
    format!("{begin}{query}{end}")
}

/// The user is found, in pieces as they come from a socket.
#[divan::bench(args = [523, 8 << 10, 256 << 10])]
fn user_in_a_body(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = chat(bytes);
    bencher.counter(BytesCount::new(bytes)).bench(|| {
        let mut scan = BodyScanner::new();
        for piece in black_box(body.as_bytes()).chunks(16 << 10) {
            scan.feed(piece).unwrap();
        }
        scan.finish().unwrap()
    });
}

/// The same with a JSON value made of the whole body, to compare.
#[divan::bench(args = [523, 8 << 10, 256 << 10])]
fn user_by_serde_json(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = chat(bytes);
    bencher.counter(BytesCount::new(bytes)).bench(|| {
        let value: serde_json::Value = serde_json::from_str(black_box(&body)).unwrap();
        value["user"].as_str().map(str::to_owned)
    });
}

/// The ids and the usage of a chat's blocking answer as Dify 1.5.0 writes it.
#[divan::bench]
fn learn_of_an_answer(bencher: Bencher<'_, '_>) {
    let id = "6f3f0d3e-8e5c-4d38-9d0b-5f9a7f6b1c2d";
    let price = r#""prompt_unit_price": "0.0", "prompt_price_unit": "0.0", "prompt_price": "0.0""#;
    let usage =
        format!(r#"{{"prompt_tokens": 31, {price}, "completion_tokens": 7, "total_tokens": 38}}"#);
    let answer = format!(
        r#"{{"event": "message", "task_id": "{id}", "id": "{id}", "message_id": "{id}",
        "conversation_id": "{id}", "mode": "chat", "answer": "The shortest way is straight ahead.",
        "metadata": {{"retriever_resources": [], "usage": {usage}}}, "created_at": 1795248319}}"#
    );
    let kind = CallKind::Run(Run::Chat);
    bencher
        .counter(BytesCount::new(answer.len()))
        .bench(|| learn_json(kind, black_box(answer.as_bytes())));
}

/// Names and weights of so many members.
fn members(count: usize) -> Vec<(String, u32)> {
    (0..count).map(|number| (format!("dify{number}"), 1)).collect()
}

const ALGORITHMS: [HashAlgorithm; 2] = [HashAlgorithm::Sha256, HashAlgorithm::Xxh3];

/// A user's instance out of 4 and of 64.
#[divan::bench(args = [4, 64], consts = [0, 1])]
fn pick_on_a_ring<const ALGORITHM: usize>(bencher: Bencher<'_, '_>, count: usize) {
    let names = members(count);
    let members: Vec<_> = names.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
    let ring = Ring::new(&members, 160, ALGORITHMS[ALGORITHM]);
    bencher.bench(|| ring.owner(ring.start(black_box(b"user-00042"))));
}

/// A ring, which a reload makes for each app.
#[divan::bench(args = [4, 64])]
fn make_a_ring(bencher: Bencher<'_, '_>, count: usize) {
    let names = members(count);
    let members: Vec<_> = names.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
    bencher.bench(|| Ring::new(black_box(&members), 160, HashAlgorithm::Sha256));
}

/// A user's instance by rendezvous.
#[divan::bench(args = [4, 64])]
fn pick_by_rendezvous(bencher: Bencher<'_, '_>, count: usize) {
    let names = members(count);
    let members: Vec<_> = names.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
    let draws = Rendezvous::new(&members, HashAlgorithm::Xxh3);
    bencher.bench(|| draws.best(draws.place(black_box(b"user-00042")), |_| true));
}

/// Events of a stream in this benchmark.
const EVENTS: usize = 100;

/// A chatflow's answer of that many pieces.
fn stream() -> String {
    let id = "6f3f0d3e-8e5c-4d38-9d0b-5f9a7f6b1c2d";
    let ids = format!(r#""task_id": "{id}", "message_id": "{id}", "conversation_id": "{id}""#);
    let mut stream = String::new();
    for _ in 0..EVENTS {
        let _ = write!(
            stream,
            "data: {{\"event\": \"message\", {ids}, \"created_at\": 1795248319, \"answer\": \"word \"}}\n\n"
        );
    }
    let _ = write!(stream, "data: {{\"event\": \"message_end\", {ids}, \"metadata\": {{}}}}\n\n");
    stream
}

/// Bytes to events; pieces are whole events or cut them.
#[divan::bench(args = [64, 1_500, 16 << 10])]
fn split_events(bencher: Bencher<'_, '_>, piece: usize) {
    let stream = stream();
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        let (mut splitter, mut events) = (Splitter::new(1 << 20), 0);
        for piece in black_box(stream.as_bytes()).chunks(piece) {
            splitter.feed(piece, |_| events += 1).unwrap();
        }
        events
    });
}

const BODY: &str = r#"{"model": "m", "stream": true, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}"#;

fn voice_of(door: &str) -> Box<dyn ResponseEncoder> {
    match door {
        "OpenAI" => Box::new(openai::chat::read(BODY.as_bytes()).unwrap().1),
        _ => Box::new(anthropic::messages::read(BODY.as_bytes()).unwrap().1),
    }
}

/// Dify's events to a client's: heard, and told at once.
#[divan::bench(args = ["OpenAI", "Anthropic"])]
fn hear_and_tell(bencher: Bencher<'_, '_>, door: &str) {
    let stream = stream();
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        let mut hearing =
            StreamDecoder::new(Mode::AdvancedChat, DecodeOptions::default(), "m".to_owned());
        let (mut voice, mut out, mut begun) = (voice_of(door), BytesMut::new(), false);
        for piece in black_box(stream.as_bytes()).chunks(1_500) {
            let mut heard = Vec::new();
            hearing.feed(piece, &mut |one| heard.push(one));
            if let (false, Some(known)) = (begun, hearing.response_start()) {
                voice.start(known, &mut out);
                begun = true;
            }
            heard.iter().for_each(|one| voice.encode(one, &mut out));
        }
        voice.finish(hearing.summary(), &mut out);
        out
    });
}
