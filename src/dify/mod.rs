//! Dify's wire as it is: what a path means, where a request's user stands, how Dify says no.
//!
//! Facts are those of Dify 1.5.0 unless a line says otherwise. Everything here is a pure function
//! or a state machine fed with bytes: no IO, no clock, and no knowledge of which instance a
//! request goes to.

pub mod cors;
pub mod error;
pub mod multipart;
pub mod pairs;
pub mod path;
pub mod response_body;
pub mod scan;
