//! Where a request of an operator comes from.

use std::net::IpAddr;

/// On which listener a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// That for operators alone.
    Admin,
    /// That for clients.
    Main,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    pub(crate) listener: Listener,
    /// Unknown behind a proxy that does not tell it.
    pub(crate) address: Option<IpAddr>,
}
