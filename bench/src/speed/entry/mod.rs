//! Who is compared: one entry in [`ALL`] and one file each.
//!
//! Each is configured as well as its own documentation allows for the same work, with one worker.

mod difygate;
mod haproxy;
mod litellm;
mod nginx;
mod pingora;

use crate::contender::Contender;
use crate::speed::scene::Setup;
use crate::speed::work::{Kind, Work};

/// One that takes part.
#[derive(Debug)]
pub struct Entry {
    /// As in the tables.
    pub name: &'static str,
    /// How it is started for a setup.
    pub setup: fn(Setup) -> Contender,
    /// Why it does not do this work, if so.
    pub leaves: fn(&Work) -> Option<&'static str>,
}

/// All of them, in the order of the tables.
pub const ALL: &[Entry] =
    &[difygate::ENTRY, nginx::ENTRY, haproxy::ENTRY, pingora::ENTRY, litellm::ENTRY];

/// Only difygate speaks OpenAI's protocol before Dify, and is measured with 1,000 apps and beside large
/// bodies.
fn proxies_only(work: &Work) -> Option<&'static str> {
    match (work.setup, work.speaks_openai()) {
        (Setup::Many, _) => Some("measured of difygate alone"),
        _ if matches!(work.kind, Kind::Beside(_)) => Some("measured of difygate alone"),
        (_, true) => Some("does not translate OpenAI's protocol to Dify's"),
        _ => None,
    }
}
