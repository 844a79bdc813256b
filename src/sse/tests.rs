use proptest::prelude::{prop, prop_assert_eq, proptest};

use super::{Event, EventLimit, HEAD_BYTES, Splitter, SseError, push_event};

type Owned = (Option<String>, Option<String>, Option<String>);

fn owned(event: Event<'_>) -> Owned {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (event.name.map(text), event.data.map(text), event.id.map(text))
}

/// The events, and whether the end is in the middle of one.
fn split<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Owned>, bool) {
    let mut splitter = Splitter::new(1 << 20);
    let mut events = Vec::new();
    for chunk in chunks {
        splitter.feed(chunk, |event| events.push(owned(event))).unwrap();
    }
    (events, splitter.ends_mid_event())
}

fn data(text: &str) -> Owned {
    (None, Some(text.into()), None)
}

#[test]
fn events_of_dify_are_found_and_a_ping_has_no_data() {
    let stream = b"data: {\"event\": \"message\", \"answer\": \"a\"}\n\nevent: ping\n\n\
                   data: {\"event\": \"message_end\"}\n\n";
    let expected = vec![
        data("{\"event\": \"message\", \"answer\": \"a\"}"),
        (Some("ping".into()), None, None),
        data("{\"event\": \"message_end\"}"),
    ];
    assert_eq!(split([&stream[..]]), (expected, false));
}

#[test]
fn fields_are_read_as_the_specification_says() {
    for (stream, event) in [
        ("data: a\ndata:b\ndata\ndata:  c\n\n", data("a\nb\n\n c")),
        ("\u{feff}data: a\n\n", data("a")),
        ("id: 7\nevent: x\ndata: a\n\n", (Some("x".into()), Some("a".into()), Some("7".into()))),
        ("id: 7\0\ndata: a\n\n", data("a")),
        (": note\ndata: a\n: note\n\n", data("a")),
        ("retry: 3\nnonsense\nDATA: b\ndata: a:b\n\n", data("a:b")),
        ("data\n\n", data("")),
    ] {
        assert_eq!(split([stream.as_bytes()]), (vec![event], false), "{stream:?}");
    }
    for stream in [": keepalive\n\n", "\n\n\r\n", "id: 1\n\n", "\u{feff}\n\n", "retry: 1\n\n"] {
        assert_eq!(split([stream.as_bytes()]), (vec![], false), "{stream:?}");
    }
}

#[test]
fn lines_may_end_in_any_mixture() {
    for end in ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\r\n\n", "\r\n\r", "\n\r"] {
        let stream = format!("data: a{end}data: b{end}");
        assert_eq!(split([stream.as_bytes()]), (vec![data("a"), data("b")], false), "{end:?}");
    }
}

#[test]
fn the_end_of_a_stream_is_whole_or_in_the_middle_of_an_event() {
    for (stream, mid_event) in [
        ("", false),
        ("data: a\n\n", false),
        ("data: a\r\n\r", false),
        ("data: a\r\n\r\n", false),
        ("data: a\n\n: note\n", false),
        ("data: a\n", true),
        ("data: a", true),
        ("d", true),
        ("data: a\n\ndata: b\n", true),
        ("data: a\n\n: no", true),
        ("event: ping\n", true),
    ] {
        assert_eq!(split([stream.as_bytes()]).1, mid_event, "{stream:?}");
    }
}

#[test]
fn an_event_above_the_limit_is_an_error_that_stays() {
    let error = SseError::TooLarge { limit: 16 };
    for chunks in [&["data: 12345678\n\n"][..], &["data: 123456", "78\n", "\n"]] {
        let mut splitter = Splitter::new(16);
        assert!(chunks.iter().all(|chunk| splitter.feed(chunk.as_bytes(), |_| ()).is_ok()));
    }
    for chunks in [&["data: 123456789\n\n"][..], &["data: 12345678901"], &["data: 1", "2345678901"]]
    {
        let mut splitter = Splitter::new(16);
        let mut fed = Ok(());
        for chunk in chunks {
            fed = splitter.feed(chunk.as_bytes(), |_| ());
        }
        assert_eq!(fed, Err(error), "{chunks:?}");
        assert_eq!(splitter.feed(b"data: a\n\n", |_| panic!("no event")), Err(error));
    }
    assert_eq!(error.to_string(), "an event of the stream is larger than 16 bytes");
}

#[test]
fn comments_without_end_take_no_memory() {
    let mut splitter = Splitter::new(64);
    for _ in 0..10_000 {
        splitter.feed(b": keepalive\n", |_| panic!("no event")).unwrap();
    }
    assert!(splitter.kept.capacity() <= 64);
}

#[test]
fn an_event_written_is_read_again() {
    for (name, text) in [(None, "a"), (Some("ping"), ""), (Some("x"), "a\n\nb\r\nc\rd")] {
        let mut out = Vec::new();
        push_event(&mut out, name, text);
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(split([&out[..]]), (vec![(name.map(Into::into), Some(lines), None)], false));
    }
    let mut out = Vec::new();
    push_event(&mut out, Some("a\ndata: forged"), "b");
    assert_eq!(out, b"data: b\n\n");
}

proptest! {
    #[test]
    fn a_stream_split_anywhere_gives_the_same_events(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "data: a", "data:", "data: {\"x\": \"y\"}", "event: ping", "id: 4", ": note", "x",
                "\n", "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\u{feff}", ":", " ",
            ]),
            0..30,
        ),
        cut in 0_usize..300,
    ) {
        let stream = pieces.concat();
        let stream = stream.as_bytes();
        let whole = split([stream]);
        let (first, second) = stream.split_at(cut.min(stream.len()));
        prop_assert_eq!(&split([first, second]), &whole);
        prop_assert_eq!(&split(stream.chunks(1)), &whole);
    }
}

/// Comments and events that begin with `data: big` may have any size and are passed over; others have
/// a limit.
fn within(head: &[u8]) -> EventLimit {
    assert_eq!(head.len(), HEAD_BYTES, "the choice is always made by as much");
    if head.starts_with(b"data: big") || head.starts_with(b":") {
        EventLimit::Skip(0)
    } else {
        EventLimit::Fail(3 * HEAD_BYTES)
    }
}

#[test]
fn a_long_event_that_nobody_needs_is_passed_over_without_being_kept() {
    let big = format!("data: big{}\n\n", "x".repeat(20 * HEAD_BYTES));
    let kept = format!("data: a{}\n\n", "y".repeat(2 * HEAD_BYTES));
    let stream = format!("data: 1\n\n{big}data: 2\n\n: {big}{kept}data: bigger\n\n");
    for size in [1, 7, 1000, 10_000, stream.len()] {
        let (mut splitter, mut lengths) = (Splitter::new(1 << 20), Vec::new());
        for chunk in stream.as_bytes().chunks(size) {
            let each = |event: Event<'_>| lengths.push(event.data.unwrap().len());
            splitter.feed_within(chunk, within, each).unwrap();
            assert!(splitter.kept.len() <= kept.len());
        }
        // What is short is given, however it begins.
        assert_eq!(lengths, [1, 1, kept.len() - 8, 6], "pieces of {size}");
    }
}

#[test]
fn a_long_event_that_counts_is_an_error_above_its_own_limit() {
    let stream = format!("data: a{}\n\n", "y".repeat(3 * HEAD_BYTES));
    for size in [1, 1000, stream.len()] {
        let mut splitter = Splitter::new(1 << 20);
        let mut feed = |chunk| splitter.feed_within(chunk, within, |_| panic!("no event"));
        let failed = stream.as_bytes().chunks(size).find_map(|chunk| feed(chunk).err());
        assert_eq!(failed, Some(SseError::TooLarge { limit: 3 * HEAD_BYTES }));
    }
}
