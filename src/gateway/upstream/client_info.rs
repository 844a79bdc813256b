//! Where a request comes from, as an instance is told.

use std::net::IpAddr;
use std::rc::Rc;

use crate::model::Scheme;

/// Where a request comes from, as the instance is told.
#[derive(Clone, Debug)]
pub(crate) struct ClientInfo {
    /// The other end of the client's socket, as it is written.
    pub peer: Rc<str>,
    /// The client itself: the peer, or what a trusted proxy says. The last proxy before it where what
    /// that says is no address.
    pub client: IpAddr,
    /// Whether `client` is the client, and not a proxy before it.
    pub is_known: bool,
    /// How the peer speaks to the gateway.
    pub scheme: Scheme,
    /// The peer is a trusted proxy, so what it says of the client is kept and added to.
    pub via_proxy: bool,
}

impl ClientInfo {
    /// The client's address, if it is known: nothing may be opened to a client by another.
    pub(crate) fn known_client(&self) -> Option<IpAddr> {
        self.is_known.then_some(self.client)
    }
}
