//! What must survive the process: durable key-value tables behind one trait.
//!
//! Three implementations: one file of [redb](https://docs.rs/redb), memory for where no folder can
//! be written, and a Redis that several gateways share. Nothing on the path of a request calls them:
//! each user has a thread of its own that groups commits.
//!
//! Limits: a table holds what fits on the disk; its users bound their rows. redb locks its file
//! even for reading, so a running gateway is asked through its admin listener, never beside it.
//! Redis is as durable as it is configured to be, and rolls nothing back.
//!
//! Deliberately absent: the owners of ids in Redis. They are read once, kept in memory and found
//! anew where they are missing, so each gateway has its own, in a local store.

mod disk;
mod error;
mod key_value;
mod memory;
mod open;
mod redis;
mod retention;
mod table;

#[cfg(test)]
#[path = "../../tests/it/rig/redis_server.rs"]
pub(crate) mod redis_server;
#[cfg(test)]
mod tests;

pub use self::error::StoreError;
pub use self::key_value::{Change, ConditionalWrite, Guard, Page, Store};
pub use self::open::{in_memory, in_redis, open};
pub use self::retention::{Retention, now_s};
pub use self::table::Table;
