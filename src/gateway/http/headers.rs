//! The fields of a head, as they came over the wire.
//!
//! They stay the bytes that they were, with a note of where each begins and which of the names that
//! matter it has: what a head says is looked up without hashing, and goes on without being copied
//! field by field.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::gateway::http::header_name::{Name, Names};

/// The fields of a head, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    bytes: Box<[u8]>,
    lines: Vec<Line>,
    named: Names,
}

/// Where a field stands in the bytes.
#[derive(Clone, Copy, Debug)]
struct Line {
    name: Name,
    name_begin: u32,
    name_bytes: u32,
    value_begin: u32,
    value_bytes: u32,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// Which one it is.
    pub name: Name,
    /// Its name as it was spelt.
    pub spelt: &'a [u8],
    /// Its value, without blanks around it.
    pub value: &'a [u8],
}

/// How often a field is there that should be there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    Never,
    Once(&'a [u8]),
    Often,
}

impl Fields {
    /// The fields whose names and values are parts of `head`.
    pub(crate) fn of_parts<'h>(
        head: &'h [u8],
        parts: impl ExactSizeIterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Self {
        let begin = |part: &[u8]| {
            let begin = (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
            u32::try_from(begin).unwrap_or(u32::MAX)
        };
        let size = |part: &[u8]| u32::try_from(part.len()).unwrap_or(0);
        let mut named = Names::default();
        let mut lines = Vec::with_capacity(parts.len());
        for (spelt, value) in parts {
            let name = Name::of(spelt);
            named.add(name);
            lines.push(Line {
                name,
                name_begin: begin(spelt),
                name_bytes: size(spelt),
                value_begin: begin(value),
                value_bytes: size(value),
            });
        }
        Self { bytes: head.into(), lines, named }
    }

    /// Those of HTTP/2.
    pub(crate) fn of_map(map: &HeaderMap) -> Self {
        let mut text = Vec::new();
        let place = |(name, value): (&HeaderName, &HeaderValue)| {
            let begin = text.len();
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(value.as_bytes());
            (begin, begin + name.as_str().len(), text.len())
        };
        let places: Vec<_> = map.iter().map(place).collect();
        let part = |(begin, middle, end)| (&text[begin..middle], &text[middle..end]);
        Self::of_parts(&text, places.into_iter().map(part))
    }

    /// Those of a test.
    #[cfg(test)]
    pub(crate) fn of_lines(lines: &[(&str, &str)]) -> Self {
        let text: String = lines.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let mut begin = 0;
        let mut next = |part: &str| {
            begin += part.len();
            begin - part.len()..begin
        };
        let places: Vec<_> = lines.iter().map(|(name, value)| (next(name), next(value))).collect();
        let part = |(name, value)| (&text.as_bytes()[name], &text.as_bytes()[value]);
        Self::of_parts(text.as_bytes(), places.into_iter().map(part))
    }

    /// In the types of `http`.
    pub(crate) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        self.iter().for_each(|field| field.put(&mut map));
        map
    }

    /// One by one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| Field {
            name: line.name,
            spelt: self.part(line.name_begin, line.name_bytes),
            value: self.part(line.value_begin, line.value_bytes),
        })
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.named.has(name)
    }

    /// The value of the first of this name.
    pub(crate) fn get(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The same, if it is text.
    pub(crate) fn text(&self, name: Name) -> Option<&str> {
        let value = self.get(name)?;
        let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
        std::str::from_utf8(value).ok().filter(|_| value.iter().all(is_text))
    }

    /// The values of those of this name.
    pub(crate) fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let lines = if self.named.has(name) { &self.lines[..] } else { &[] };
        let named = lines.iter().filter(move |line| line.name == name);
        named.map(|line| self.part(line.value_begin, line.value_bytes))
    }

    /// What one says that should be there once.
    pub(crate) fn said(&self, name: Name) -> Said<'_> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Said::Never,
            (Some(value), None) => Said::Once(value),
            (Some(_), Some(_)) => Said::Often,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// How long they are with their colons and line ends.
    pub(crate) fn size(&self) -> usize {
        self.lines.iter().map(|line| (line.name_bytes + line.value_bytes + 4) as usize).sum()
    }

    fn part(&self, begin: u32, bytes: u32) -> &[u8] {
        let begin = begin as usize;
        self.bytes.get(begin..begin + bytes as usize).unwrap_or_default()
    }
}

impl Field<'_> {
    /// Adds it to a map.
    pub(crate) fn put(&self, map: &mut HeaderMap) {
        let name = match self.name {
            Name::Other => HeaderName::from_bytes(self.spelt).ok(),
            known => Some(known.header()),
        };
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(self.value)) {
            map.append(name, value);
        }
    }
}

/// A decimal number without a sign (RFC 9110 §8.6).
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::{Fields, Name, Said, decimal};

    #[test]
    fn what_a_head_says_is_found_by_name() {
        let fields =
            Fields::of_lines(&[("Host", "a"), ("x-b", "1"), ("cookie", "c=1"), ("Cookie", "d=2")]);
        assert_eq!((fields.get(Name::Host), fields.get(Name::Te)), (Some(&b"a"[..]), None));
        assert_eq!(fields.all(Name::Cookie).collect::<Vec<_>>(), [b"c=1", b"d=2"]);
        assert_eq!(fields.said(Name::Host), Said::Once(b"a"));
        assert_eq!((fields.said(Name::Cookie), fields.said(Name::Te)), (Said::Often, Said::Never));
        assert!(fields.has(Name::Other) && !fields.has(Name::Expect));
        assert_eq!((fields.count(), fields.size()), (4, 9 + 8 + 13 + 13));
    }

    #[test]
    fn fields_become_a_map_and_come_back_the_same() {
        let lines = [("host", "a"), ("x-b", "1"), ("x-b", "2"), ("accept", "")];
        let map = Fields::of_lines(&lines).to_map();
        let back: Vec<_> = map.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(back, lines);
        let fields = Fields::of_map(&map);
        assert_eq!(fields.all(Name::Other).collect::<Vec<_>>(), [&b"1"[..], b"2", b""]);
    }

    #[test]
    fn only_text_is_text() {
        let fields = Fields::of_lines(&[("content-type", "a/b"), ("host", "\u{e9}")]);
        assert_eq!((fields.text(Name::ContentType), fields.text(Name::Host)), (Some("a/b"), None));
    }

    #[test]
    fn a_number_is_digits_and_fits() {
        assert_eq!((decimal(b"0"), decimal(b"00520")), (Some(0), Some(520)));
        assert_eq!(decimal(u64::MAX.to_string().as_bytes()), Some(u64::MAX));
        for none in [&b""[..], b"+1", b"-1", b"1 ", b" 1", b"1,1", b"0x1", b"18446744073709551616"]
        {
            assert_eq!(decimal(none), None, "{none:?}");
        }
    }
}
