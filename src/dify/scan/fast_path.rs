//! Members of the usual kind: whole in their piece, the key short, the value small or a string.
//!
//! Nearly every member of nearly every body is so, and the scanner's state need not be written and
//! looked up between its tokens. Whatever is not so is left, from its key on, to the states.

use super::body_info::Emptiness;
use super::nesting;
use super::scanner::{BodyScanner, State, is_blank, is_scalar};
use super::text::{self, Field};

impl BodyScanner {
    /// Reads members, the first from after its key's opening quote. Gives the bytes read, none if
    /// there is no usual member, and `None` if the scan has failed. The state is set to what
    /// follows.
    pub(super) fn read_members(&mut self, piece: &[u8], at: usize) -> Option<usize> {
        let read = |rest: &[u8]| piece.len() - rest.len();
        let mut member = piece;
        loop {
            let Some((field, value)) = head(member) else { return Some(read(member)) };
            let after = match value {
                [b'"', text @ ..] => {
                    let place = at + read(value);
                    if let Some((inside, after)) = text::near(text) {
                        if field != Field::Other {
                            self.begin(field, place);
                            self.settle_text(inside, place + 2 + inside.len())?;
                        }
                        after
                    } else {
                        self.begin(field, place);
                        let Some(end) = self.text(text, place + 1)? else {
                            self.state = State::Text;
                            return Some(piece.len());
                        };
                        &text[end..]
                    }
                }
                [bracket @ (b'{' | b'['), inside @ ..] => {
                    let Some(end) = nesting::small(*bracket, inside) else {
                        return Some(read(member));
                    };
                    if field != Field::Other {
                        self.begin(field, at + read(value));
                        self.settle_nested(&value[..1 + end], at + read(value) + 1 + end)?;
                    }
                    &inside[end..]
                }
                _ => {
                    let end = value.iter().position(|byte| !is_scalar(*byte));
                    let Some(end) = end.filter(|end| *end > 0) else { return Some(read(member)) };
                    if field != Field::Other {
                        self.begin(field, at + read(value));
                        self.settle_scalar(&value[..end], at + read(value) + end)?;
                    }
                    &value[end..]
                }
            };
            (self.state, member) = match after {
                [b',', next @ ..] => match blanks(next) {
                    [b'"', key @ ..] => (State::Key, key),
                    next => (State::NextKey, next),
                },
                [b'}', rest @ ..] => {
                    self.object_ends(at + read(after), Emptiness::HasMembers);
                    (State::End, rest)
                }
                _ => (State::Comma, after),
            };
            if !matches!(self.state, State::Key) {
                return Some(read(member));
            }
        }
    }
}

/// Whose value follows a key, and all from that value on, which is at least a byte.
#[inline]
fn head(member: &[u8]) -> Option<(Field, &[u8])> {
    let (key, after) = text::near(member)?;
    let value = blanks(after.strip_prefix(b":")?);
    (!value.is_empty()).then(|| (text::named(key), value))
}

/// What follows white space.
#[inline]
fn blanks(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b' ', next, ..] if *next > b' ' => &bytes[1..],
        [next, ..] if *next > b' ' => bytes,
        _ => &bytes[bytes.iter().take_while(|byte| is_blank(**byte)).count()..],
    }
}
