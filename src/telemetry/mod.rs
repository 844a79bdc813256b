//! What the outside sees of the gateway's work: the access log, the error log, counters.
//!
//! Counters and histograms are plain atomics that the request path owns by pointer; their names and
//! labels are given when they are read. So no request looks anything up by label or takes a lock.

mod access_log;
mod counters;
mod error_log;

pub use self::access_log::{AccessLog, Batch, Destination, Entry, FailedAttempt, Format, Sink};
pub use self::counters::{Counter, Gauge, Histogram, LATENCY_BOUNDS_S};
pub use self::error_log::{
    reopen as reopen_error_log, start as start_error_log, start_in as start_error_log_in,
};
