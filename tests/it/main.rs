//! The gateway on real sockets, in front of simulated Difys. One binary, so that it is linked once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in its own functions"
)]

mod rig;

mod admin;
mod ai;
mod clients;
mod discovery;
mod failures;
mod health;
mod http;
mod ids;
mod ingress;
mod operations;
mod routing;
mod runs;
mod store;
mod streams;
mod tenants;
mod tls;
mod versions;
