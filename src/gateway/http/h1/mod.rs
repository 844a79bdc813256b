//! HTTP/1.1 of our own: reading heads and bodies by RFC 9112, one shared read buffer a worker, writing.
//!
//! A library drives every connection from a task with buffers of its own; a gateway needs neither. Here a
//! connection keeps no buffer while it waits, an answer's bytes are read by whoever passes them on, and a head
//! leaves in one write with what follows it. What a head means is judged where HTTP/2's are (`framing`).
//!
//! Deliberately absent: upgrades, trailers (read and left out), pipelining ahead of an answer.

pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod conn;
pub(crate) mod deadline;
pub(crate) mod io_buffers;
pub(crate) mod parse;
pub(crate) mod write_buf;
