//! Clients that speak HTTP/2, and those that break it.

mod cases;
mod clients;
mod frames;
mod rules;
