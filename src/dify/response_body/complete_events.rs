//! Holds back an event of a stream that is not whole, so that a stream that breaks off can be gone on
//! with: half an event cannot be taken back from a client.

use bytes::Bytes;
use memchr::{memchr, memmem};

const END: &[u8] = b"\n\n";

/// Gives only whole events on.
#[derive(Debug)]
pub struct WholeEvents {
    /// The beginning of an event.
    kept: Vec<u8>,
    limit: usize,
}

/// What of a stream may go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Whole {
    /// Whole events.
    Events(Bytes),
    /// Nothing yet.
    None,
    /// What cannot be held back: an event that is too large, or lines that end in another way than
    /// Dify's, so that events would never seem whole.
    Unheld(Bytes),
}

impl WholeEvents {
    /// Holds back at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), limit }
    }

    /// Takes the next piece.
    pub fn pass(&mut self, mut piece: Bytes) -> Whole {
        // JSON has none in it.
        if memchr(b'\r', &piece).is_some() {
            return Whole::Unheld(self.take_with(&piece));
        }
        if self.kept.is_empty() {
            // Dify's events are one piece each, mostly.
            if piece.ends_with(END) {
                return Whole::Events(piece);
            }
            let Some(end) = memmem::rfind(&piece, END) else { return self.keep(&piece) };
            let events = piece.split_to(end + END.len());
            return match self.keep(&piece) {
                Whole::Unheld(rest) => Whole::Unheld([events, rest].concat().into()),
                _ => Whole::Events(events),
            };
        }
        // The end may have been cut in two.
        let from = self.kept.len().saturating_sub(1);
        let kept = self.keep(&piece);
        if kept != Whole::None {
            return kept;
        }
        let Some(end) = memmem::rfind(&self.kept[from..], END) else { return Whole::None };
        let rest = self.kept.split_off(from + end + END.len());
        Whole::Events(std::mem::replace(&mut self.kept, rest).into())
    }

    fn take_with(&mut self, piece: &[u8]) -> Bytes {
        [&self.take(), piece].concat().into()
    }

    /// What was held back.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.kept).into()
    }

    fn keep(&mut self, piece: &[u8]) -> Whole {
        self.kept.extend_from_slice(piece);
        if self.kept.len() > self.limit { Whole::Unheld(self.take()) } else { Whole::None }
    }
}

/// Each event of whole ones, with the blank line behind it.
pub(super) fn each_event(events: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let end = memmem::find(rest, END).map_or(rest.len(), |end| end + END.len());
        let (event, after) = rest.split_at(end);
        rest = after;
        (!event.is_empty()).then_some(event)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Whole, WholeEvents, each_event};

    #[test]
    fn events_are_whole_wherever_the_stream_is_cut() {
        let stream = b"event: ping\n\ndata: {\"a\":1}\n\ndata: b\n\nda";
        for (size, limit) in (1..stream.len()).flat_map(|size| [(size, 64), (size, 14)]) {
            let mut whole = WholeEvents::new(limit);
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                match whole.pass(Bytes::copy_from_slice(piece)) {
                    Whole::Events(events) => {
                        assert!(events.ends_with(b"\n\n"), "{events:?}");
                        out.extend_from_slice(&events);
                    }
                    Whole::None => {}
                    Whole::Unheld(part) => {
                        assert_eq!(limit, 14);
                        out.extend_from_slice(&part);
                    }
                }
            }
            if limit == 64 {
                assert_eq!(out, &stream[..stream.len() - 2]);
                assert_eq!(whole.take(), &b"da"[..]);
            }
            out.extend_from_slice(&whole.take());
            assert!(stream.starts_with(&out));
        }
    }

    #[test]
    fn lines_of_others_are_not_held_back() {
        let mut whole = WholeEvents::new(64);
        assert_eq!(whole.pass(Bytes::from_static(b"data: a")), Whole::None);
        let unheld = whole.pass(Bytes::from_static(b"\r\n\r\n"));
        assert_eq!(unheld, Whole::Unheld(Bytes::from_static(b"data: a\r\n\r\n")));
        assert!(whole.take().is_empty());
    }

    #[test]
    fn each_event_is_given_with_its_blank_line() {
        let events: Vec<_> = each_event(b"event: ping\n\ndata: a\n\nrest").collect();
        assert_eq!(events, [&b"event: ping\n\n"[..], b"data: a\n\n", b"rest"]);
    }
}
