//! Which instance: pure decisions over names, weights, loads and failures.
//!
//! Nothing here does IO or reads a clock: the time is an argument, in milliseconds since any fixed
//! point. What is shared between threads is atomic; there is no lock.

mod bound;
mod breaker;
mod cycle;
mod hash;
mod method;
mod order;
mod rendezvous;
mod ring;

pub use bound::{Bound, MaxLoad};
pub use breaker::{Breaker, BreakerState, Cause, Pass, Thresholds, Verdict};
pub use cycle::Cycle;
pub use hash::HashAlgorithm;
pub use method::{Keyed, Method};
pub use order::{Load, Order};
pub use rendezvous::Rendezvous;
pub use ring::Ring;
