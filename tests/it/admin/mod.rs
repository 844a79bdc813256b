//! The admin listener.

mod browser;
mod endpoints;
mod listener;
