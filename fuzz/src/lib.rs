//! What is fuzzed: each target takes any bytes, and panics if a law does not hold.

mod oracle;
pub mod seeds;
mod wire;

pub use wire::wire;

use std::fmt::Debug;

use difygate::adapter::{
    AppEvent, DecodeOptions, DecodeState, FinishReason, Mode, StreamDecoder, anthropic, openai,
};
use difygate::config::{self, Environment};
use difygate::dify::multipart::MultipartScanner;
use difygate::dify::scan::{BodyScanner, scan_body};
use difygate::sse::Splitter;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("wire", wire),
    ("scanner", scanner),
    ("multipart", multipart),
    ("sse", sse),
    ("decoder", decoder),
    ("config", config),
    ("openai", openai),
];

/// What is the same however the bytes are cut must be so.
fn same_in_pieces<T: PartialEq + Debug>(
    input: &[u8],
    read: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> T,
) {
    let whole = read(&mut std::iter::once(input));
    for size in [1, 2, 7, 64] {
        assert_eq!(read(&mut input.chunks(size)), whole, "in pieces of {size} bytes");
    }
}

/// The scanner of JSON bodies: the same facts however a body is cut, and places within it.
pub fn scanner(input: &[u8]) {
    same_in_pieces(input, |mut pieces| {
        let mut scan = BodyScanner::new();
        Iterator::try_for_each(&mut pieces, |piece| scan.feed(piece)).ok()?;
        scan.finish().ok()
    });
    if let Ok(facts) = scan_body(input)
        && let Some(user) = facts.user
    {
        assert!(!user.is_empty() && user.chars().count() <= 255, "{user:?}");
    }
}

/// Forms. The first line of the input is the `Content-Type`.
pub fn multipart(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let Ok(kind) = str::from_utf8(&input[..end]) else { return };
    same_in_pieces(&input[end..], |mut pieces| {
        let mut scan = MultipartScanner::new(kind.trim_end()).ok()?;
        Iterator::try_for_each(&mut pieces, |piece| scan.feed(piece)).ok()?;
        scan.finish().ok()
    });
}

/// Streams of events: the same events however they are cut.
pub fn sse(input: &[u8]) {
    const LIMIT: usize = 4096;
    type Seen = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
    same_in_pieces(input, |pieces| {
        let (mut splitter, mut events) = (Splitter::new(LIMIT), Vec::<Seen>::new());
        for piece in pieces {
            let fed = splitter.feed(piece, |event| {
                let own = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
                events.push((own(event.name), own(event.data), own(event.id)));
            });
            if fed.is_err() {
                // Where it gives up may depend on the pieces, what it gave before may not.
                return None;
            }
        }
        Some((events, splitter.ends_mid_event()))
    });
}

/// Answers of Dify: the same words and the same end however they are cut; what was heard is what was
/// told; and nothing after the end changes it.
pub fn decoder(input: &[u8]) {
    for mode in [Mode::Chat, Mode::AdvancedChat, Mode::Agent, Mode::Workflow] {
        same_in_pieces(input, |pieces| {
            let mut hearing =
                StreamDecoder::new(mode, DecodeOptions::default(), "model".to_owned());
            let (mut text, mut reasoning) = (String::new(), String::new());
            let mut each = |heard: AppEvent| match heard {
                AppEvent::Text(piece) => text.push_str(&piece),
                AppEvent::Reasoning(piece) => reasoning.push_str(&piece),
                _ => {}
            };
            for piece in pieces {
                hearing.feed(piece, &mut each);
            }
            let state = hearing.finish(&mut each).clone();
            assert_ne!(state, DecodeState::Running);
            assert_eq!(reasoning, hearing.summary().reasoning);
            if hearing.summary().finish != FinishReason::Filtered {
                assert_eq!(text, hearing.summary().text);
            }
            let told = hearing.summary().clone();
            let more = b"\n\ndata: {\"event\": \"message\", \"answer\": \"more\"}\n\n";
            assert_eq!(hearing.feed(more, &mut |_| panic!("after the end")), &state);
            assert_eq!(hearing.summary(), &told);
            (state, told)
        });
    }
}

/// The configuration: every text is read or refused with places in it.
pub fn config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match config::parse("fuzz.yaml", text, &Environment::default()) {
        Ok(loaded) => assert!(!loaded.config.apps.is_empty()),
        Err(findings) => assert!(!findings.to_string().is_empty()),
    }
}

/// Requests of AI clients: read or refused with a message.
pub fn openai(input: &[u8]) {
    let refused = [
        openai::chat::read(input).err(),
        openai::completions::read(input).err(),
        openai::responses::read(input).err(),
        anthropic::read(input).err(),
    ];
    for fault in refused.into_iter().flatten() {
        assert!((400..500).contains(&fault.status) && !fault.message.is_empty(), "{fault:?}");
    }
}
