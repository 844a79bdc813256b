//! Ends an answer where one of the client's `stop` texts begins: Dify cannot be told of them.

use super::think::overlap;

/// Looks for the stop texts in an answer that comes in pieces.
#[derive(Debug)]
pub(super) struct Cut {
    marks: Vec<String>,
    /// The end of the answer so far, which may be the beginning of a mark.
    held: String,
}

impl Cut {
    pub(super) fn new(mut marks: Vec<String>) -> Self {
        marks.retain(|mark| !mark.is_empty());
        Self { marks, held: String::new() }
    }

    /// The next piece: what of the answer is certain now, and whether it ends with that.
    pub(super) fn feed(&mut self, text: &str) -> (String, Ends) {
        if self.marks.is_empty() {
            return (text.to_owned(), Ends::NotYet);
        }
        let mut all = std::mem::take(&mut self.held);
        all.push_str(text);
        if let Some(at) = self.marks.iter().filter_map(|mark| all.find(mark.as_str())).min() {
            all.truncate(at);
            return (all, Ends::Here);
        }
        let kept = self.marks.iter().map(|mark| overlap(&all, mark)).max().unwrap_or(0);
        self.held = all.split_off(all.len() - kept);
        (all, Ends::NotYet)
    }

    /// No more comes: what was held belongs to the answer.
    pub(super) fn end(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Whether a stop text came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Here,
    NotYet,
}

#[cfg(test)]
mod tests {
    use super::{Cut, Ends};

    fn cut(marks: &[&str], pieces: &[&str]) -> (String, Ends) {
        let mut cut = Cut::new(marks.iter().map(|&mark| mark.to_owned()).collect());
        let mut answer = String::new();
        for piece in pieces {
            let (text, ends) = cut.feed(piece);
            answer.push_str(&text);
            if ends == Ends::Here {
                return (answer, ends);
            }
        }
        answer.push_str(&cut.end());
        (answer, Ends::NotYet)
    }

    #[test]
    fn the_answer_ends_before_the_first_stop_text_wherever_it_is_cut() {
        let here = |text: &str| (text.to_owned(), Ends::Here);
        let whole = |text: &str| (text.to_owned(), Ends::NotYet);
        assert_eq!(cut(&["END"], &["one ", "E", "N", "D two"]), here("one "));
        assert_eq!(cut(&["END"], &["one EN", "T"]), whole("one ENT"));
        assert_eq!(cut(&["END", "\n\n"], &["a\n", "\nb END"]), here("a"));
        assert_eq!(cut(&["aab"], &["aaa", "ab"]), here("aa"));
        assert_eq!(cut(&["。"], &["好", "。再"]), here("好"));
        assert_eq!(cut(&["好的"], &["好", "吧"]), whole("好吧"));
        assert_eq!(cut(&[], &["x"]), whole("x"));
    }
}
