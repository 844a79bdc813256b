//! What the outside sees of the gateway's work: the access log, the error log, counters.
//!
//! Counters and histograms are plain atomics that the request path owns by pointer; their names and
//! labels are given when they are read. So no request looks anything up by label or takes a lock.

mod access;
mod count;
mod log;

pub use access::{AccessLog, Batch, Destination, Entry, FailedAttempt, Format, Sink};
pub use count::{Counter, Gauge, Histogram, LATENCY_BOUNDS_S};
pub use log::start as start_error_log;
