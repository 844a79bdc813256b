//! A request body, complete before an instance is asked for anything.
//!
//! Dify's server gives a connection slot to a half-sent body for as long as it takes, so a body is
//! taken in whole first: in memory up to a limit, beyond it in an unnamed file of `spool_dir`. What
//! is kept can be sent more than once.

mod body;
mod body_buffer;
mod replay;
mod spool;
#[cfg(test)]
mod tests;

pub(crate) use self::body::{BufferedBody, TURN_BYTES};
pub(crate) use self::body_buffer::BodyBuffer;
pub(crate) use self::replay::ReplayBody;
