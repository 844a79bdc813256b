//! A connection to an instance, ready for HTTP: the name looked up, TCP, and TLS where the address
//! says so. `timeouts.connect` covers all of it.

use std::io::{self, ErrorKind};

use tokio::net::TcpStream;

use crate::gateway::http::tls::transport::Transport;
use crate::gateway::state::instance::{Instance, resolve};
use crate::model::Scheme;

/// Connects to an instance.
///
/// # Errors
/// No name, no connection, or no TLS that is to be trusted.
pub(crate) async fn dial(instance: &Instance) -> io::Result<Transport> {
    let stream = connect(instance).await?;
    // Without it, small requests wait for the instance's acknowledgement.
    stream.set_nodelay(true)?;
    match (instance.address().scheme, instance.tls()) {
        (Scheme::Http, _) => Ok(Transport::Plain(stream)),
        (Scheme::Https, Some(tls)) => Box::pin(tls.shake_hands(stream)).await,
        // Never in the clear for want of a setting.
        (Scheme::Https, None) => Err(io::Error::new(ErrorKind::Unsupported, "TLS is not set up")),
    }
}

async fn connect(instance: &Instance) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in resolve(instance.address()).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
