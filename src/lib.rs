//! difygate: one program in front of several Dify instances.
//!
//! `ARCHITECTURE.md` is the map; `tests/rules/layers.rs` keeps the walls between the rooms.

pub mod adapter;
pub mod admin;
pub mod affinity;
mod background;
pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod conversation;
pub mod dify;
pub mod discovery;
pub mod gateway;
pub mod import;
pub mod model;
pub mod sse;
pub mod store;
pub mod telemetry;
