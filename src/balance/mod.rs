//! Which instance: pure decisions over names, weights, loads and failures.
//!
//! Nothing here does IO or reads a clock: the time is an argument, in milliseconds since any fixed
//! point. What is shared between threads is atomic; there is no lock.

mod bound;
mod breaker;
mod budget;
mod caller;
mod cycle;
mod hash;
mod health;
mod keyed_silence;
mod method;
mod order;
mod rendezvous;
mod ring;
mod run_starts;
mod slow_start;
mod status_breaker;
mod statuses;

pub use crate::model::HashAlgorithm;
pub use bound::{Bound, MaxLoad};
pub use breaker::{Breaker, BreakerState, Cause, Pass, Settled, Thresholds, Verdict};
pub use budget::Budget;
pub use caller::{CallerId, Sender, Work};
pub use cycle::Cycle;
pub use health::{Change, Health, HealthState, ProbeVerdict, Rhythm, Rules, Standing};
pub use keyed_silence::KeyedSilence;
pub use method::{Keyed, Method};
pub use order::{Load, Order};
pub use rendezvous::Rendezvous;
pub use ring::Ring;
pub use run_starts::{RunChange, RunStarts};
pub use slow_start::{fraction, lets_in};
pub use status_breaker::{StatusBreaker, StatusSettled, Whom};
pub use statuses::Statuses;
