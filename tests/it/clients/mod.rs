//! The client libraries people use.

mod libraries;
