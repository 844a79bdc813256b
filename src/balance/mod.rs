//! Which instance: pure decisions over names, weights, loads and failures.
//!
//! Nothing here does IO or reads a clock: the time is an argument, in milliseconds since any fixed
//! point. What is shared between threads is atomic; there is no lock.

mod breaker;
mod hash;
mod order;
mod ring;

pub use breaker::{Breaker, BreakerState, Cause, Pass, Thresholds, Verdict};
pub use hash::HashAlgorithm;
pub use order::{Load, Method, Order};
pub use ring::Ring;
