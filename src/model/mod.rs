//! The nouns that every room shares. Nothing here does IO, reads a clock or imports another room.

mod address;
pub mod doors;
mod id;
mod probe;
mod reason;
mod refusal;
mod token;

pub use address::{Address, Scheme};
pub use id::{AppName, InstanceName};
pub use probe::ProbeExpect;
pub use reason::Reason;
pub use refusal::{Refusal, Source};
pub use token::Token;
