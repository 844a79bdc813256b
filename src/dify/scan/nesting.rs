//! Skips a nested value, whatever is in it, at several bytes per nanosecond.
//!
//! Bytes are taken in blocks of 64. A block without brackets and backslashes (most of them) needs
//! only its number of quotes: odd means that it ends on the other side of a string. Any other
//! block is turned into bit masks, and only its brackets are looked at one by one. Both loops are
//! written so that the compiler makes vector code of them; there is no code for one processor.

use memchr::memchr2;

use super::{files, text};

/// How many brackets may be open inside one top-level value.
pub(super) const MAX_DEPTH: usize = 512;

const BLOCK: usize = 64;

/// The most bytes of a value that is read without blocks.
const SMALL: usize = 128;

/// What is wrong with the brackets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NestingError {
    TooDeep,
    /// The place of a closing bracket that does not fit.
    Mismatch(usize),
}

/// The open brackets and whether the place is inside a string.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// One bit per open bracket: set for `{`.
    kinds: [u64; MAX_DEPTH / 64],
    depth: usize,
    in_text: bool,
    /// The last byte was a backslash that takes the next one with it.
    escaped: bool,
}

impl Nesting {
    /// Opens a bracket, `{` or `[`.
    pub(super) fn open(&mut self, bracket: u8) -> Result<(), NestingError> {
        let word = self.kinds.get_mut(self.depth / 64).ok_or(NestingError::TooDeep)?;
        let bit = 1_u64 << (self.depth % 64);
        *word = if bracket == b'{' { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    /// Closes the innermost open bracket; false if `bracket` is of the other kind.
    fn close(&mut self, bracket: u8) -> bool {
        let innermost = self.depth - 1;
        let is_brace = (self.kinds[innermost / 64] >> (innermost % 64)) & 1 == 1;
        let fits = is_brace == (bracket == b'}');
        self.depth = innermost;
        fits
    }

    /// Skips until all brackets are closed and gives the place after the last one; `None` if that
    /// is not among these bytes. At least one bracket must be open.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> Result<Option<usize>, NestingError> {
        let mut at = 0;
        while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let (quotes, special) = survey(block);
            if special || self.escaped {
                if let Some(end) = self.block(block, BLOCK, at)? {
                    return Ok(Some(end));
                }
            } else if quotes == 0 && self.in_text {
                // A long string: straight to the next byte that matters.
                let rest = &bytes[at + BLOCK..];
                at += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            } else {
                self.in_text ^= quotes & 1 == 1;
            }
            at += BLOCK;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let mut block = [b' '; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        self.block(&block, rest.len(), at)
    }

    /// One block by bit masks, of which only the first `len` bytes count.
    fn block(
        &mut self,
        block: &[u8; BLOCK],
        len: usize,
        at: usize,
    ) -> Result<Option<usize>, NestingError> {
        if len == 0 {
            return Ok(None);
        }
        let escaped = self.escapes(mask(block, |byte| byte == b'\\'), len);
        let quotes = mask(block, |byte| byte == b'"') & !escaped;
        let outside = !(prefix_xor(quotes) ^ if self.in_text { u64::MAX } else { 0 });
        self.in_text ^= quotes.count_ones() & 1 == 1;
        let mut brackets = mask(block, is_bracket) & outside & !escaped;
        while brackets != 0 {
            let place = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            match block[place] {
                bracket @ (b'{' | b'[') => self.open(bracket)?,
                bracket if !self.close(bracket) => return Err(NestingError::Mismatch(at + place)),
                _ if self.depth == 0 => {
                    self.in_text = false;
                    self.escaped = false;
                    return Ok(Some(at + place + 1));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The bytes that a backslash takes with it. Carries one over the end of the block.
    fn escapes(&mut self, backslashes: u64, len: usize) -> u64 {
        let mut escaped = u64::from(self.escaped);
        let mut left = backslashes & !escaped;
        self.escaped = false;
        while left != 0 {
            let next = left.trailing_zeros() as usize + 1;
            if next == len {
                self.escaped = true;
                break;
            }
            escaped |= 1 << next;
            left &= left - 1;
            left &= !(1 << next);
        }
        escaped
    }
}

/// The place after the last bracket of a value that is small and has nothing unusual, the bytes
/// beginning after its first bracket, which is `bracket`. `None` says nothing.
///
/// Most nested values are of this kind (`{}`, `[]`, a few fields), and blocks would cost them more.
/// No id can be in such a value: where the text of a file's key might stand, that is unusual.
pub(super) fn small(bracket: u8, bytes: &[u8]) -> Option<usize> {
    let bytes = bytes.get(..SMALL).unwrap_or(bytes);
    // One bit per open bracket as above, the innermost lowest, and a set one above them all.
    let mut open = 2 | u64::from(bracket == b'{');
    let mut at = 0;
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'"' => {
                let (text, _) = text::near(bytes.get(at..)?)?;
                if text == files::NAME {
                    return None;
                }
                at += text.len() + 1;
            }
            b'{' | b'[' if open.leading_zeros() > 0 => {
                open = open << 1 | u64::from(byte == b'{');
            }
            b'}' | b']' if (open & 1 == 1) == (byte == b'}') => {
                open >>= 1;
                if open == 1 {
                    return Some(at);
                }
            }
            // The first might begin a string that is none to blocks, the other is in a file's key.
            b'\\' | b'_' | b'{' | b'[' | b'}' | b']' => return None,
            _ => {}
        }
    }
}

fn is_bracket(byte: u8) -> bool {
    // `{` and `[`, `}` and `]` differ in one bit.
    byte | 0x20 == b'{' || byte | 0x20 == b'}'
}

/// The number of quotes, and whether there are brackets or backslashes.
fn survey(block: &[u8; BLOCK]) -> (u8, bool) {
    let (mut quotes, mut special) = (0_u8, 0_u8);
    for &byte in block {
        quotes += u8::from(byte == b'"');
        special |= u8::from(byte == b'\\') | u8::from(is_bracket(byte));
    }
    (quotes, special != 0)
}

/// One bit for each byte that `hit` names, the first byte's lowest.
fn mask(block: &[u8; BLOCK], hit: impl Fn(u8) -> bool) -> u64 {
    let mut bits = [0_u8; BLOCK];
    for (place, (bit, &byte)) in bits.iter_mut().zip(block).enumerate() {
        *bit = if hit(byte) { 1 << (place % 8) } else { 0 };
    }
    let mut mask = 0;
    for (word, lane) in bits.as_chunks::<8>().0.iter().enumerate() {
        // The eight bytes hold different bits, so their sum is their union: gathered at the top.
        let sum = u64::from_le_bytes(*lane).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        mask |= sum << (8 * word);
    }
    mask
}

/// Bit `n` of the result is the parity of bits 0 to `n`: set from an opening quote up to the byte
/// before its closing one.
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}
