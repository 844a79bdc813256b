//! Which place of the Lua text each place of the result was made of.
//!
//! The writer puts marks into its text, before each key and each value. They are taken out at the end,
//! when it is known where each of them came to stand.

use super::value::Spot;

/// Around a mark. No text that is written has them as they are.
const BEGIN: char = '\u{1}';
const END: char = '\u{2}';

/// A mark for what follows it.
pub(super) fn mark((line, column): Spot) -> String {
    format!("{BEGIN}{line}:{column}{END}")
}

/// Places of a text and those that they were made of, both as line and column from 1, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    made: Vec<(Spot, Spot)>,
}

impl Places {
    /// Where in the Lua text stands what a place was made of; none for what the writer added by itself.
    pub fn source(&self, line: usize, column: usize) -> Option<(usize, usize)> {
        let until = self.made.partition_point(|(made, _)| *made <= (line, column));
        let (_, source) = self.made.get(until.checked_sub(1)?)?;
        Some(*source)
    }
}

/// Takes the marks out.
pub(super) fn take_out(text: &str) -> (String, Places) {
    let (mut out, mut made) = (String::with_capacity(text.len()), Vec::new());
    let (mut line, mut column) = (1, 1);
    for (index, piece) in text.split(BEGIN).enumerate() {
        let (spot, piece) = match piece.split_once(END) {
            Some((spot, rest)) if index > 0 => (spot.split_once(':'), rest),
            _ => (None, piece),
        };
        let source = spot.and_then(|(line, column)| {
            Some((line.parse::<usize>().ok()?, column.parse::<usize>().ok()?))
        });
        made.extend(source.map(|source| ((line, column), source)));
        match piece.rfind('\n') {
            Some(end) => {
                line += piece.matches('\n').count();
                column = piece[end + 1..].chars().count() + 1;
            }
            None => column += piece.chars().count(),
        }
        out.push_str(piece);
    }
    (out, Places { made })
}

#[cfg(test)]
mod tests {
    use super::{mark, take_out};

    #[test]
    fn the_nearest_mark_before_a_place_is_its_source() {
        let text = format!("head\n{}客: {}1\n- {}x", mark((3, 1)), mark((3, 5)), mark((4, 2)));
        let (text, places) = take_out(&text);
        assert_eq!(text, "head\n客: 1\n- x");
        let sources = [(1, 4), (2, 1), (2, 3), (2, 4), (3, 1), (3, 9)];
        let sources = sources.map(|(line, column)| places.source(line, column));
        let expected = [None, Some((3, 1)), Some((3, 1)), Some((3, 5)), Some((3, 5)), Some((4, 2))];
        assert_eq!(sources, expected);
    }
}
