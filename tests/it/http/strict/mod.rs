//! What is ambiguous or malformed is refused, and nobody hangs: the table of cases in `requests` and
//! `answers`, and what takes time or a configuration of its own.

mod case;
mod forwarded;
mod limits;
mod origin;
mod suite;
mod wire;
