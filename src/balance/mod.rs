//! Which instance: pure decisions over names, weights, loads and failures.
//!
//! Nothing here does IO or reads a clock: the time is an argument, in milliseconds since any fixed
//! point. What is shared between threads is atomic; there is no lock.

mod bounded_load;
mod breaker;
mod budget;
mod hash;
mod health;
mod keyed_stall;
mod load;
mod method;
mod order;
mod rendezvous;
mod requester;
mod ring;
mod round_robin;
mod run_starts;
mod slow_start;
mod status_breaker;
mod status_set;

pub use self::bounded_load::{LoadBound, MaxLoad};
pub use self::breaker::{
    Breaker, BreakerOutcome, BreakerState, EjectionCause, Permit, Thresholds, Verdict,
};
pub use self::budget::Budget;
pub use self::health::{
    Health, HealthChange, HealthSnapshot, HealthState, HealthThresholds, ProbeTiming, ProbeVerdict,
};
pub use self::keyed_stall::KeyedStall;
pub use self::load::Load;
pub use self::method::{HashKey, Method};
pub use self::order::AttemptOrder;
pub use self::rendezvous::Rendezvous;
pub use self::requester::{CallerId, Requester, WorkKind};
pub use self::ring::Ring;
pub use self::round_robin::RoundRobin;
pub use self::run_starts::{RunChange, RunStarts};
pub use self::slow_start::{fraction, is_ramped_in};
pub use self::status_breaker::{EjectionScope, StatusBreaker, StatusOutcome};
pub use self::status_set::StatusSet;
pub use crate::model::HashAlgorithm;
