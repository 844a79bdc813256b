//! The gateway on real sockets, in front of simulated Difys. One binary, so that it is linked once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in its own functions"
)]

mod bodies;
mod certs;
mod redis_server;
mod rig;

mod admin;
mod browser;
mod clients;
mod control;
mod conversations;
mod crash;
mod deploy;
mod descriptors;
mod doors;
mod engine;
mod explain;
mod failure;
mod faults;
mod h2;
mod h2_cases;
mod h2_frames;
mod h2_rules;
mod health;
mod identify;
mod ids;
mod import;
mod keys;
mod large_bodies;
mod leaving;
mod methods;
mod once;
mod opendify;
mod own_users;
mod owners;
mod plan;
mod process;
mod recorded;
mod redis_away;
mod reload;
mod resumed;
mod retries;
mod routing;
mod run_starts;
mod slots;
mod store;
mod store_down;
mod streaming;
mod strict;
mod tenants;
mod tls;
mod tls_instances;
mod untaken;
mod versions;
