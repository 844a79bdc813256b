//! Reasoning that a model writes into its answer, separated from the answer.
//!
//! Models write it at the very start, as `<think>…</think>` or `<splitter>…</splitter>`; Dify
//! before 1.0 wrapped it into `<details …> <summary> ReasoningSplitter... </summary> … </details>`.

/// The tags in which reasoning comes.
const TAGS: [(&str, &str); 3] =
    [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<details ", "</details>")];

/// The summary that Dify before 1.0 puts at the start of its details.
const SUMMARY_END: &str = "</summary>";

/// The most bytes of the tag that opens details, its summary included.
const MAX_DETAILS_HEAD: usize = 512;

/// A piece of what a model wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    Answer(&'a str),
    Reasoning(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Nothing but blanks came.
    Start,
    /// Within the tag that opens details.
    DetailsHead,
    /// Within reasoning, which this ends.
    Inside(&'static str),
    /// Behind it, where blanks are left out.
    Behind,
    /// In the answer, for good.
    Answer,
}

/// Tells reasoning from the answer, piece by piece.
#[derive(Debug)]
pub(super) struct ReasoningSplitter {
    place: Position,
    /// What cannot be decided before more comes.
    held: String,
}

impl ReasoningSplitter {
    pub(super) fn new() -> Self {
        Self { place: Position::Start, held: String::new() }
    }

    /// Everything is the answer.
    pub(super) fn off() -> Self {
        Self { place: Position::Answer, held: String::new() }
    }

    pub(super) fn feed(&mut self, text: &str, emit: &mut dyn FnMut(Segment<'_>)) {
        if self.place == Position::Answer && self.held.is_empty() {
            return give(Segment::Answer(text), emit);
        }
        self.held.push_str(text);
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_str();
        while let Some(left) = self.step(rest, emit) {
            rest = left;
        }
        if self.place != Position::Answer {
            rest = self.keep(rest, emit);
            rest.clone_into(&mut self.held);
        }
    }

    /// No more comes: what was held is what it is.
    pub(super) fn finish(&mut self, emit: &mut dyn FnMut(Segment<'_>)) {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Position::Inside(_) => give(Segment::Reasoning(&held), emit),
            _ => give(Segment::Answer(&held), emit),
        }
        self.place = Position::Answer;
    }

    /// One step through the text: what is left, or none if it needs more to go on.
    fn step<'a>(&mut self, text: &'a str, emit: &mut dyn FnMut(Segment<'_>)) -> Option<&'a str> {
        match self.place {
            Position::Start => self.start(text, emit),
            Position::DetailsHead => match text.find(SUMMARY_END) {
                Some(at) => {
                    self.place = Position::Inside("</details>");
                    Some(&text[at + SUMMARY_END.len()..])
                }
                None if text.len() > MAX_DETAILS_HEAD => self.answer(text, emit),
                None => None,
            },
            Position::Inside(close) => {
                let at = text.find(close)?;
                give(Segment::Reasoning(&text[..at]), emit);
                self.place = Position::Behind;
                Some(&text[at + close.len()..])
            }
            Position::Behind => {
                let rest = text.trim_start();
                if rest.is_empty() { None } else { self.answer(rest, emit) }
            }
            Position::Answer => None,
        }
    }

    fn start<'a>(&mut self, text: &'a str, emit: &mut dyn FnMut(Segment<'_>)) -> Option<&'a str> {
        let trimmed = text.trim_start();
        if let Some((open, close)) = TAGS.iter().find(|(open, _)| trimmed.starts_with(open)) {
            if *close == "</details>" {
                self.place = Position::DetailsHead;
                return Some(trimmed);
            }
            self.place = Position::Inside(close);
            return Some(&trimmed[open.len()..]);
        }
        // Perhaps the beginning of a tag.
        if TAGS.iter().any(|(open, _)| open.starts_with(trimmed)) {
            return None;
        }
        self.answer(text, emit)
    }

    fn answer<'a>(&mut self, text: &'a str, emit: &mut dyn FnMut(Segment<'_>)) -> Option<&'a str> {
        self.place = Position::Answer;
        give(Segment::Answer(text), emit);
        None
    }

    /// Gives of reasoning what cannot belong to its closing tag; what must be held is left.
    fn keep<'a>(&self, text: &'a str, emit: &mut dyn FnMut(Segment<'_>)) -> &'a str {
        match self.place {
            Position::Inside(close) => {
                let at = text.len() - overlap(text, close);
                give(Segment::Reasoning(&text[..at]), emit);
                &text[at..]
            }
            Position::Behind => "",
            _ => text,
        }
    }
}

fn give(piece: Segment<'_>, emit: &mut dyn FnMut(Segment<'_>)) {
    let (Segment::Answer(text) | Segment::Reasoning(text)) = piece;
    if !text.is_empty() {
        emit(piece);
    }
}

/// How many bytes at the end of `text` are the beginning of `mark`.
pub(super) fn overlap(text: &str, mark: &str) -> usize {
    let most = text.len().min(mark.len().saturating_sub(1));
    let fits = |length: &usize| text.as_bytes().ends_with(&mark.as_bytes()[..*length]);
    (1..=most).rev().find(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ReasoningSplitter, Segment};

    fn summary(pieces: &[&str]) -> (String, String) {
        let (mut answer, mut reasoning) = (String::new(), String::new());
        let mut splitter = ReasoningSplitter::new();
        let mut emit = |piece: Segment<'_>| match piece {
            Segment::Answer(text) => answer.push_str(text),
            Segment::Reasoning(text) => reasoning.push_str(text),
        };
        pieces.iter().for_each(|piece| splitter.feed(piece, &mut emit));
        splitter.finish(&mut emit);
        (answer, reasoning)
    }

    const CASES: [(&str, &str, &str); 11] = [
        ("hello", "hello", ""),
        ("<think>a < b\n</think>\n\nyes", "yes", "a < b\n"),
        ("\n <thinking>x</thinking>y", "y", "x"),
        ("<thin air", "<thin air", ""),
        ("<think>never closed", "", "never closed"),
        ("<think></think>", "", ""),
        ("see <think>this</think>", "see <think>this</think>", ""),
        ("<think>a</thin</think>b", "b", "a</thin"),
        (
            "<details style=\"x\" open> <summary> Thinking... </summary>\nwhy</details>so",
            "so",
            "\nwhy",
        ),
        ("<details open>no summary", "<details open>no summary", ""),
        ("", "", ""),
    ];

    #[test]
    fn reasoning_at_the_start_is_told_from_the_answer() {
        for (text, answer, reasoning) in CASES {
            assert_eq!(summary(&[text]), (answer.to_owned(), reasoning.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_text_is_cut(
            case in 0..CASES.len(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)
        ) {
            let (text, answer, reasoning) = CASES[case];
            let mut cuts: Vec<_> = cuts.iter().map(|stop| stop.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|two| &text[two[0]..two[1]]).collect();
            prop_assert_eq!(summary(&pieces), (answer.to_owned(), reasoning.to_owned()));
        }
    }
}
