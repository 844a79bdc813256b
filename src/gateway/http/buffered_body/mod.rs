//! A request body, complete before an instance is asked for anything.
//!
//! Dify's server gives a connection slot to a half-sent body for as long as it takes, so a body is
//! taken in whole first: in memory up to a limit, beyond it in an unnamed file of `spool_dir`. What
//! is kept can be sent more than once.

mod keeper;
mod kept;
mod replay;
mod spool;
#[cfg(test)]
mod tests;

pub(crate) use self::keeper::Keeper;
pub(crate) use self::kept::{Kept, TURN_BYTES};
pub(crate) use self::replay::Replay;
