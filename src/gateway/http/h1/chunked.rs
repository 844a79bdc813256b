//! The chunked coding (RFC 9112 §7.1), byte by byte outside of data.
//!
//! Lines end with CRLF and nothing else, sizes are hexadecimal digits alone, and what stands in
//! extensions and trailers is bounded and left out.

use bytes::{Buf, Bytes};

/// Bytes of all extensions and trailers of a body.
const EXTRA_BYTES: usize = 16 * 1024;

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Digits,
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    LastLf,
    Over,
}

/// Reads a chunked body.
#[derive(Debug)]
pub(crate) struct Chunks {
    at: At,
    /// Of the chunk at hand.
    left: u64,
    extra: usize,
}

impl Chunks {
    /// Before its first byte.
    pub(crate) fn new() -> Self {
        Self { at: At::Size, left: 0, extra: 0 }
    }

    /// Whether the last chunk and the trailers have been read.
    pub(crate) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// The next data in `input`, from which all is taken that was understood; `None` if it holds no
    /// more of them.
    ///
    /// # Errors
    /// It is not the chunked coding.
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
        while !input.is_empty() && self.at != At::Over {
            if self.at == At::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                self.left -= here as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                return Ok(Some(input.split_to(here)));
            }
            let skipped = self.skip(input)?;
            input.advance(skipped);
        }
        Ok(None)
    }

    /// Reads up to the next data or the end.
    fn skip(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        for (count, byte) in (1..).zip(bytes) {
            self.step(*byte)?;
            if matches!(self.at, At::Data | At::Over) {
                return Ok(count);
            }
        }
        Ok(bytes.len())
    }

    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        self.at = match (self.at, byte) {
            (At::Size | At::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let left = self.left.checked_mul(16).ok_or("a chunk's size is too large")?;
                self.left = left + u64::from(digit);
                At::Digits
            }
            (At::Digits | At::Blank, b'\t' | b' ') => self.count(At::Blank)?,
            (At::Digits | At::Blank, b';') => At::Extension,
            (At::Digits | At::Blank | At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\n' | 0) => return Err("a chunk's extension is not valid"),
            (At::Extension, _) => self.count(At::Extension)?,
            (At::SizeLf, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::TrailerName, b':') => At::Trailer,
            (At::TrailerStart | At::TrailerName, byte) if is_token(byte) => {
                self.count(At::TrailerName)?
            }
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => self.count(At::Trailer)?,
            (At::TrailerStart | At::TrailerName | At::Trailer, _) => {
                return Err("a trailer is not valid");
            }
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::LastLf, b'\n') => At::Over,
            (At::Size | At::Digits | At::Blank, _) => return Err("a chunk's size is not valid"),
            _ => return Err("a chunk does not end where it should"),
        };
        Ok(())
    }

    fn count(&mut self, next: At) -> Result<At, &'static str> {
        self.extra += 1;
        match self.extra > EXTRA_BYTES {
            true => Err("the chunks' extensions and trailers are too long"),
            false => Ok(next),
        }
    }
}

/// A byte of a field's name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Chunks, EXTRA_BYTES};

    fn read(text: &[u8], size: usize) -> Result<(Vec<u8>, bool), &'static str> {
        let (mut chunks, mut data) = (Chunks::new(), Vec::new());
        for piece in text.chunks(size) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(more) = chunks.decode(&mut input)? {
                data.extend_from_slice(&more);
            }
            assert!(input.is_empty() || chunks.is_over());
        }
        Ok((data, chunks.is_over()))
    }

    #[test]
    fn data_is_the_same_however_the_bytes_come() {
        let text = b"5;name=\"x\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n";
        for size in 1..=text.len() {
            assert_eq!(read(text, size), Ok((b"hello0123456789".to_vec(), true)), "{size}");
        }
        assert_eq!(read(&text[..text.len() - 1], 3).map(|(_, over)| over), Ok(false));
    }

    #[test]
    fn what_is_not_the_coding_is_an_error() {
        let long = [b"0;".as_slice(), &vec![b'x'; EXTRA_BYTES + 1], b"\r\n\r\n"].concat();
        let bad: [&[u8]; 13] = [
            b"x\r\n",
            b"\r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b" 5\r\nhello",
            b"5\nhello",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\nX",
            b"11111111111111111\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\nX: \x7f\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            &long,
        ];
        for text in bad {
            for size in [1, text.len()] {
                assert!(read(text, size).is_err(), "{:?}", String::from_utf8_lossy(text));
            }
        }
    }
}
