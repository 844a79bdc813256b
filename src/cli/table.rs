//! Tables for people: columns as wide as their longest cell, colour where it means something. The
//! printer takes colours out where there is no terminal.

/// How a cell looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// As everything else.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// To be noticed.
    Odd,
    /// Of little weight.
    Faint,
    /// A heading.
    Head,
}

impl Tone {
    /// A text in this tone.
    pub(super) fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Odd => "33",
            Self::Faint => "2",
            Self::Head => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A text in a tone.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// The rows under a heading, a line each.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: Vec<[Cell; N]>) -> String {
    let mut rows = rows;
    rows.insert(0, heading.map(|name| Cell::new(name, Tone::Head)));
    let length = |cell: &Cell| cell.text.chars().count();
    let width = |column: usize| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
        for (column, cell) in row[..last].iter().enumerate() {
            text += &cell.tone.paint(&cell.text);
            if column + 1 < last {
                text += &" ".repeat(widths[column] - length(cell) + 2);
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Cell, Tone, table};

    #[test]
    fn colours_take_no_room() {
        let rows = vec![
            ["a".into(), Cell::new("good", Tone::Good), "1".into()],
            ["bcd".into(), Cell::new("x", Tone::Bad), "".into()],
        ];
        let text = table(["A", "B", ""], rows);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "A    B\na    good  1\nbcd  x\n");
        assert!(text.contains("\u{1b}[32mgood\u{1b}[0m  1"), "{text:?}");
    }
}
