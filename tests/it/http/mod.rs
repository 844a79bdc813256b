//! The protocol on both sides: bodies, framing, HTTP/2.

mod bodies;
mod engine;
mod h2;
mod large_bodies;
mod strict;
