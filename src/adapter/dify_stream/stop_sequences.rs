//! Ends an answer where one of the client's `stop` texts begins: Dify does not know them.

use super::reasoning::overlap;

/// Looks for the stop texts in an answer that comes in pieces.
#[derive(Debug)]
pub(super) struct StopSequences {
    marks: Vec<String>,
    /// The end of the answer so far, which may be the beginning of a mark.
    held: String,
}

impl StopSequences {
    pub(super) fn new(mut marks: Vec<String>) -> Self {
        marks.retain(|mark| !mark.is_empty());
        Self { marks, held: String::new() }
    }

    /// The next piece: what of the answer is certain now, and whether it ends with that.
    pub(super) fn feed(&mut self, text: &str) -> (String, StopMatch) {
        if self.marks.is_empty() {
            return (text.to_owned(), StopMatch::NotYet);
        }
        let mut all = std::mem::take(&mut self.held);
        all.push_str(text);
        if let Some(at) = self.marks.iter().filter_map(|mark| all.find(mark.as_str())).min() {
            all.truncate(at);
            return (all, StopMatch::Found);
        }
        let kept = self.marks.iter().map(|mark| overlap(&all, mark)).max().unwrap_or(0);
        self.held = all.split_off(all.len() - kept);
        (all, StopMatch::NotYet)
    }

    /// No more comes: what was held belongs to the answer.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopMatch {
    Found,
    NotYet,
}

#[cfg(test)]
mod tests {
    use super::{StopMatch, StopSequences};

    fn stop(marks: &[&str], pieces: &[&str]) -> (String, StopMatch) {
        let mut stop = StopSequences::new(marks.iter().map(|&mark| mark.to_owned()).collect());
        let mut answer = String::new();
        for piece in pieces {
            let (text, ends) = stop.feed(piece);
            answer.push_str(&text);
            if ends == StopMatch::Found {
                return (answer, ends);
            }
        }
        answer.push_str(&stop.finish());
        (answer, StopMatch::NotYet)
    }

    #[test]
    fn the_answer_ends_before_the_first_stop_text_wherever_it_is_cut() {
        let here = |text: &str| (text.to_owned(), StopMatch::Found);
        let whole = |text: &str| (text.to_owned(), StopMatch::NotYet);
        assert_eq!(stop(&["END"], &["one ", "E", "N", "D two"]), here("one "));
        assert_eq!(stop(&["END"], &["one EN", "T"]), whole("one ENT"));
        assert_eq!(stop(&["END", "\n\n"], &["a\n", "\nb END"]), here("a"));
        assert_eq!(stop(&["aab"], &["aaa", "ab"]), here("aa"));
        assert_eq!(stop(&["。"], &["好", "。再"]), here("好"));
        assert_eq!(stop(&["好的"], &["好", "吧"]), whole("好吧"));
        assert_eq!(stop(&[], &["x"]), whole("x"));
    }
}
