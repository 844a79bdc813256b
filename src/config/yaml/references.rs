//! Keeps `${…}` from YAML's eyes, whose brackets it would break: `{ token: ${KEY} }`.
//!
//! Each reference is replaced by a stand-in of the same number of bytes, so that places stay true,
//! and put back when its scalar has been read. A stand-in is one character of a private plane of
//! Unicode, whose number says which reference it stands for, and as many `_` as are needed.
//!
//! Left alone are references over several lines and those with quotes or backslashes in them, which
//! YAML has to see, and texts that use that plane themselves.

use std::borrow::Cow;

/// The first character of plane 15, and how many of them may be used. Each takes four bytes.
const FIRST: u32 = 0xF_0000;
const COUNT: usize = 0xFFFD;

/// A text without its references.
pub(super) struct Hidden<'t> {
    pub(super) text: Cow<'t, str>,
    references: Vec<&'t str>,
}

impl<'t> Hidden<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut hidden = Self { text: Cow::Borrowed(text), references: Vec::new() };
        if !text.contains("${") || text.chars().any(|c| index(c).is_some()) {
            return hidden;
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let length = length(&rest[start..]);
            let reference = &rest[start..start + length];
            out.push_str(&rest[..start]);
            match stand_in(hidden.references.len()) {
                Some(c) if length >= c.len_utf8() => {
                    out.push(c);
                    out.extend(std::iter::repeat_n('_', length - c.len_utf8()));
                    hidden.references.push(reference);
                }
                _ => out.push_str(reference),
            }
            rest = &rest[start + length..];
        }
        out.push_str(rest);
        hidden.text = Cow::Owned(out);
        hidden
    }

    /// A scalar with its references put back.
    pub(super) fn restore<'s>(&self, scalar: &'s str) -> Cow<'s, str> {
        if self.references.is_empty() {
            return Cow::Borrowed(scalar);
        }
        let mut out = String::new();
        let mut rest = scalar;
        while let Some((at, reference)) = rest.char_indices().find_map(|(at, c)| {
            let index = index(c)?;
            Some((at, self.references.get(index)?))
        }) {
            out.push_str(&rest[..at]);
            out.push_str(reference);
            rest = rest.get(at + reference.len()..).unwrap_or_default();
        }
        if out.is_empty() {
            return Cow::Borrowed(scalar);
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

/// The bytes of the reference at the start of `text`; 2 if it is left alone.
fn length(text: &str) -> usize {
    let end = text.find(['}', '\n', '"', '\'', '\\']);
    end.filter(|end| text[*end..].starts_with('}')).map_or(2, |end| end + 1)
}

fn stand_in(index: usize) -> Option<char> {
    let index = u32::try_from(Some(index).filter(|index| *index < COUNT)?).ok()?;
    char::from_u32(FIRST + index)
}

fn index(c: char) -> Option<usize> {
    let index = u32::from(c).checked_sub(FIRST)?;
    usize::try_from(index).ok().filter(|index| *index < COUNT)
}

#[cfg(test)]
mod tests {
    use super::Hidden;

    #[test]
    fn what_is_hidden_comes_back() {
        for text in [
            "a: b",
            "${A}",
            "{ a: ${A:-b, c}, d: ${E} }",
            "a$${B}c ${D",
            "\"${A:-\\\"}\" ${B}\n${C}",
            "${}${A}",
            "é${Ä}é",
            "${A} \u{F0000}",
        ] {
            let hidden = Hidden::new(text);
            assert_eq!(hidden.text.len(), text.len(), "{text}");
            assert_eq!(hidden.restore(&hidden.text), text);
        }
    }

    #[test]
    fn no_bracket_of_a_reference_is_left() {
        assert!(!Hidden::new("[${A}, x${B:-[c]}]").text.contains(['$', '}']));
    }
}
