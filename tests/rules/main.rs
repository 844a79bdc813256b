//! What the repository itself must keep: layers, pages, examples, and the bytes that clients get.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, also in its own functions"
)]

mod docs;
mod examples;
mod from_opendify;
mod golden;
mod layers;
mod links;
mod yaml_in_pages;
