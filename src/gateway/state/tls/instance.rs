//! TLS towards instances: their certificates are checked, always.
//!
//! The authorities are Mozilla's, compiled in (`webpki-roots`), and those of `tls.ca`. The system's
//! own store is not read: a container made of one program has none, and what an instance is trusted
//! by should stand in the configuration and not depend on the machine.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::gateway::http::tls::pem::add_authorities;
use crate::gateway::http::tls::profile::{VERSIONS, provider};
use crate::gateway::http::tls::transport::Transport;

/// Sessions that are kept for instances with the same authorities, to be taken up again.
const SESSIONS: usize = 1024;

/// Who may vouch for instances.
#[derive(Clone, Debug)]
pub struct Authorities(Arc<ClientConfig>);

impl Authorities {
    /// Those of Mozilla's, and the certificates in `ca`, which is PEM.
    ///
    /// # Errors
    /// What is wrong with `ca`.
    pub fn new(ca: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        if let Some(ca) = ca {
            add_authorities(&mut roots, ca)?;
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&VERSIONS)
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self(Arc::new(config)))
    }
}

/// How TLS is spoken with an instance.
#[derive(Debug)]
pub struct InstanceTls {
    authorities: Authorities,
    name: ServerName<'static>,
}

impl InstanceTls {
    /// `name` is what the certificate must be for, and what is asked for (SNI).
    ///
    /// # Errors
    /// It is neither a name nor an IP address.
    pub fn new(authorities: &Authorities, name: &str) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` cannot be the name of a certificate"))?;
        Ok(Self { authorities: authorities.clone(), name })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// The connection broke, or what is wrong with the certificate.
    pub(crate) async fn shake_hands(&self, stream: TcpStream) -> io::Result<Transport> {
        let connector = TlsConnector::from(Arc::clone(&self.authorities.0));
        let shaken = connector.connect(self.name.clone(), stream).await;
        shaken.map(|stream| Transport::Tls(Box::new(stream.into()))).map_err(explained)
    }
}

/// The error with what an operator can do about it.
fn explained(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let hint = match inner {
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::UnknownIssuer => {
                "no known authority has signed it; name its own as `tls.ca`"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another name; name that as `tls.sni`"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew it, or see to this machine's clock"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "see to this machine's clock"
            }
            _ => return error,
        },
        Some(rustls::Error::InvalidMessage(_)) => "does TLS listen there? If not, write `http://`",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error} ({hint})"))
}
