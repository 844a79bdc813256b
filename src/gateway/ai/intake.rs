//! The body of an AI client's request, from its first byte to what it asks for.
//!
//! A native body is only passed on; this one is held in memory as a whole, unpacked and made into a
//! tree. What is large or packed is read away from the worker's thread; until its turn comes, it stays
//! in its file.

use bytes::Bytes;
use memchr::memchr_iter;

use super::coding::{self, Coding, Undecodable};
use super::offload::{LARGE_BYTES, offload};
use crate::adapter::bounded::MAX_ELEMENTS;
use crate::gateway::ai::errors;
use crate::gateway::ai::request::Arrival;
use crate::gateway::http::body_memory::Held;
use crate::gateway::http::buffered_body::Kept;
use crate::gateway::http::limits::BodyLimit;
use crate::gateway::http::limits::Limits;
use crate::gateway::http::request_body::Arriving;
use crate::gateway::proxy::identify;
use crate::gateway::state::app::App;
use crate::model::GatewayError;

/// A body that was read.
pub(super) struct Taken<T> {
    /// What it asks for.
    pub asked: T,
    /// Its size in bytes, unpacked.
    pub len: u64,
    /// Its share of the memory for all bodies, for as long as much of it is kept.
    pub held: Held,
}

impl<T> Taken<T> {
    /// What else `into` makes of what was read and its size.
    pub(super) fn map<U>(self, into: impl FnOnce(T, u64) -> U) -> Taken<U> {
        let Self { asked, len, held } = self;
        Taken { asked: into(asked, len), len, held }
    }

    /// Checks the limit of the app that was asked for, once that is known.
    ///
    /// # Errors
    /// 413.
    pub(super) fn check(&self, app: &App) -> Result<(), GatewayError> {
        let most = BodyLimit { bytes: app.doors.max_body_bytes, key: MAX_BODY };
        if self.len > most.bytes { Err(errors::body_too_large(most)) } else { Ok(()) }
    }
}

const MAX_BODY: &str = "doors.max_body";

impl Arrival {
    /// Takes the body in and reads it.
    ///
    /// # Errors
    /// It is too large, too slow, packed in an unknown way or broken, there is no room for it, or `read`
    /// refuses it.
    pub(super) async fn take_in<T: Send + 'static>(
        &mut self,
        mut body: Arriving,
        read: impl FnOnce(Bytes) -> Result<T, GatewayError> + Send + 'static,
    ) -> Result<Taken<T>, GatewayError> {
        let codings = coding::codings(&self.headers).map_err(|()| errors::unknown_coding())?;
        let limits = &self.snapshot.limits;
        let most = match limits.max_body_bytes < limits.client_body_bytes {
            true => BodyLimit { bytes: limits.max_body_bytes, key: "limits.max_body" },
            false => BodyLimit { bytes: limits.client_body_bytes, key: MAX_BODY },
        };
        let kept = identify::body(&self.head, &mut body, &self.snapshot, most).await?;
        self.record.body_read(None, kept.len());
        let is_small = kept.len() <= LARGE_BYTES && !kept.is_spooled() && codings.is_empty();
        let held = self.snapshot.room.hold();
        let reader = Reader { kept, codings, most, held };
        if is_small {
            return reader.read(limits, read);
        }
        let limits = limits.clone();
        offload(move || reader.read(&limits, read)).await?
    }
}

/// What one value of a body takes once it is read, with its name and its place in a map: about.
const VALUE_BYTES: u64 = 128;

/// What a body's values take beside their text, at most: a comma stands between two of them, or in a text.
fn tree_bytes(body: &[u8]) -> u64 {
    let commas = memchr_iter(b',', body).take(MAX_ELEMENTS).count() as u64;
    commas.saturating_mul(VALUE_BYTES)
}

/// A body that is here and not yet read.
struct Reader {
    kept: Kept,
    codings: Vec<Coding>,
    most: BodyLimit,
    held: Held,
}

impl Reader {
    fn read<T>(
        mut self,
        limits: &Limits,
        read: impl FnOnce(Bytes) -> Result<T, GatewayError>,
    ) -> Result<Taken<T>, GatewayError> {
        let failed = |error| identify::not_kept(&error, limits);
        let mut bytes = self.kept.into_bytes(&mut self.held).map_err(failed)?;
        if !self.codings.is_empty() {
            let unpacked = coding::decode(bytes, &self.codings, self.most.bytes, &mut self.held);
            bytes = unpacked.map_err(|why| match why {
                Undecodable::Malformed => errors::malformed_coding(),
                Undecodable::TooLarge => errors::body_too_large(self.most),
                Undecodable::NoRoom(error) => failed(error),
            })?;
        }
        let len = bytes.len() as u64;
        self.held.resize(len.saturating_add(tree_bytes(&bytes))).map_err(failed)?;
        let asked = read(bytes)?;
        Ok(Taken { asked, len, held: self.held })
    }
}

#[cfg(test)]
mod tests {
    use super::tree_bytes;

    #[test]
    fn values_count_beside_their_text() {
        assert_eq!(tree_bytes(br#"{"a":1,"b":[1,2]}"#), 2 * 128);
        assert_eq!(tree_bytes(&vec![b','; 1_000_000]), 100_000 * 128, "no more than may be read");
    }
}
