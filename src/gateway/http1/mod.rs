//! HTTP/1.1 of our own, on both sides.
//!
//! A library drives every connection from a task with buffers of its own; a gateway needs neither.
//! Here a connection keeps no buffer while it waits, an answer's bytes are read by whoever passes them
//! on, and a head leaves in one write with what follows it. What is read strictly is read by RFC
//! 9112: a head by `parse`, a body by `body` and `chunks`. What a head means is judged where
//! HTTP/2's are (`framing`).
//!
//! Deliberately absent: upgrades, trailers (read and left out), pipelining ahead of an answer.

mod alarm;
mod body;
mod chunks;
mod fill;
pub(super) mod fuzzing;
mod instance;
mod line;
mod outflow;
mod parse;
mod serving;
mod tell;

pub(super) use self::alarm::Alarm;
pub(super) use self::instance::{Answering, Connection, Gear, SendError, Written};
pub(super) use self::line::RequestBody;
pub(super) use self::serving::serve;
