//! A Docker engine as a source: each running container of a service is an endpoint.
//!
//! The engine tells by its event stream what happens, a few milliseconds after it did; nothing is polled
//! but one full list each 30 s, which also follows each new connection. What is taken away by an event is
//! taken away at once, without asking: `kill` with the signal that ends a process drains its container
//! while the process still has its grace period, and that is what makes a replacement without a failed
//! request possible. What an event adds is read from a list.
//!
//! The engine is asked by GET alone, for `/version`, `/containers/json` and `/events`, so that a socket
//! proxy may refuse everything else. The way there is hyper's, which the gateway has: a client library
//! for all of the engine's API is eighty crates, of which three requests and one stream would be used.
//!
//! Deliberately absent: TLS to an engine, Swarm's tasks (by DNS: `tasks.<service>`), restarting anything.

mod address;
mod containers;
mod engine;
mod error;
mod events;
mod settings;
mod source;
mod wire;

pub use address::{EngineAddress, EngineAddressError};
pub use error::EngineError;
pub use settings::{DockerSettings, DockerTiming, Selection};
pub use source::DockerSource;
