//! The nouns that every room shares. Nothing here does IO, reads a clock or imports another room.

mod address;
pub mod ai;
mod gateway_error;
mod id;
mod probe;
mod reason;
mod settings;
mod token;
pub(crate) mod units;
pub(crate) mod value_schema;
mod waits;

pub use address::{Address, Scheme};
pub use gateway_error::{ErrorKind, GatewayError, Source};
pub use id::{AppName, InstanceName};
pub use probe::ProbeExpect;
pub use reason::Reason;
pub use settings::{
    HashAlgorithm, LastResort, OnDisconnect, OnOwnerDown, OnStoreFailure, Storage, TlsMode,
};
pub use token::Token;
pub use waits::{Queue, Timeouts};
