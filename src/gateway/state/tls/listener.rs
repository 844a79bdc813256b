//! TLS towards clients: several certificates, chosen by the name that a client asks for (SNI).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::{
    ClientHello, NoClientAuth, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    WebPkiClientVerifier, danger::ClientCertVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::gateway::http::tls::pem::{add_authorities, certificates, key};
use crate::gateway::http::tls::profile::{VERSIONS, provider};
use crate::gateway::http::tls::transport::Transport;
use crate::gateway::state::tls::certificate::Certificate;

/// The first byte of a TLS record with a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

/// A certificate that is shown to clients.
pub struct Identity {
    /// The file of the certificates, for operators.
    pub file: String,
    /// The certificate and those that lead from it to an authority, in PEM.
    pub certificates: Vec<u8>,
    /// Its private key, in PEM.
    pub key: Vec<u8>,
    /// The names it is shown for, in lower case, `*.` before one of them standing for one label;
    /// none: those that it is for.
    pub hosts: Vec<String>,
}

/// Whose certificates of clients are believed.
pub struct ClientAuthorities {
    /// In PEM.
    pub ca: Vec<u8>,
    /// What becomes of a client without a certificate.
    pub without: Without,
}

/// What becomes of a client without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// It may come in.
    Admitted,
    /// The handshake fails.
    Refused,
}

/// How TLS is spoken with clients.
#[derive(Clone)]
pub struct ListenerTls {
    config: Arc<ServerConfig>,
    /// Of configurations that ask for no certificates: sessions then outlive a reload.
    tickets: Option<Arc<dyn ProducesTickets>>,
    certificates: Arc<[Certificate]>,
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerTls").finish_non_exhaustive()
    }
}

/// What a handshake came to.
pub(crate) struct Welcomed {
    /// The connection.
    pub transport: Transport,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Whether an earlier session was taken up.
    pub kind: Option<HandshakeKind>,
}

/// What a client speaks, by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, also where nothing was said.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Why there was no handshake.
pub(crate) enum Unwelcome {
    /// The client speaks something else, perhaps plain HTTP; its bytes are unread.
    NotTls(TcpStream),
    /// What went wrong.
    Failed(io::Error),
}

impl ListenerTls {
    /// Shows the first of `identities` where no other fits. Sessions of `older` go on where no
    /// certificates are asked for.
    ///
    /// # Errors
    /// Which part is unusable, by its place, and why.
    pub fn new(
        identities: Vec<Identity>,
        clients: Option<&ClientAuthorities>,
        older: Option<&Self>,
    ) -> Result<Self, TlsFault> {
        let (resolver, certificates) = Resolver::new(identities)?;
        let verifier = verifier(clients).map_err(TlsFault::Clients)?;
        let other = |error: rustls::Error| TlsFault::Other(error.to_string());
        let config = ServerConfig::builder_with_provider(provider());
        let config = config.with_protocol_versions(&VERSIONS).map_err(other)?;
        let mut config =
            config.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets bring back what an earlier handshake proved, so they end with who vouched for it.
        let kept = older.and_then(|older| older.tickets.clone()).filter(|_| clients.is_none());
        let ticketer = kept.map_or_else(Ticketer::new, Ok).map_err(other)?;
        config.ticketer = Arc::clone(&ticketer);
        let tickets = clients.is_none().then_some(ticketer);
        Ok(Self { config: Arc::new(config), tickets, certificates: certificates.into() })
    }

    /// What handshakes go by. `benches/` measures them without a socket.
    #[doc(hidden)]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What is shown to clients, in the order of the configuration.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Shakes hands with a client. The time is the caller's to bound.
    ///
    /// # Errors
    /// There is no connection then.
    pub(crate) async fn welcome(&self, stream: TcpStream) -> Result<Welcomed, Unwelcome> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) => return Err(Unwelcome::Failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) if first[0] != HANDSHAKE => return Err(Unwelcome::NotTls(stream)),
            Ok(_) => {}
            Err(error) => return Err(Unwelcome::Failed(error)),
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = acceptor.accept(stream).await.map_err(Unwelcome::Failed)?;
        let session = stream.get_ref().1;
        let kind = session.handshake_kind();
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok(Welcomed { transport: Transport::Tls(Box::new(stream.into())), protocol, kind })
    }
}

/// What of a listener's TLS is unusable, and why.
#[derive(Debug)]
pub enum TlsFault {
    /// The certificate of the identity at this place.
    Certificate(usize, String),
    /// The key of the identity at this place.
    Key(usize, String),
    /// The authorities of clients.
    Clients(String),
    /// Something else.
    Other(String),
}

fn verifier(clients: Option<&ClientAuthorities>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let Some(clients) = clients else { return Ok(Arc::new(NoClientAuth)) };
    let mut roots = RootCertStore::empty();
    add_authorities(&mut roots, &clients.ca)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match clients.without {
        Without::Admitted => builder.allow_unauthenticated(),
        Without::Refused => builder,
    };
    builder.build().map_err(|error| error.to_string())
}

/// Chooses a certificate.
#[derive(Debug)]
struct Resolver {
    /// Never empty; the first is shown where no other fits.
    all: Vec<Arc<CertifiedKey>>,
    /// By host; a name with `*.` stands without the `*`.
    by_host: HashMap<String, usize>,
    /// Those that are shown for the names that they are for.
    by_own_names: Vec<usize>,
}

impl Resolver {
    fn new(identities: Vec<Identity>) -> Result<(Self, Vec<Certificate>), TlsFault> {
        let mut known = Vec::new();
        let (mut all, mut by_host, mut by_own_names) = (Vec::new(), HashMap::new(), Vec::new());
        for (place, identity) in identities.into_iter().enumerate() {
            let chain = certificates(&identity.certificates)
                .map_err(|fault| TlsFault::Certificate(place, fault))?;
            if let Err(error) = ParsedCertificate::try_from(&chain[0]) {
                return Err(TlsFault::Certificate(place, format!("cannot be used: {error}")));
            }
            known.push(Certificate::new(identity.file, &identity.hosts, &chain[0]));
            let key = key(&identity.key).map_err(|fault| TlsFault::Key(place, fault))?;
            let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
                let fault = match error {
                    rustls::Error::InconsistentKeys(_) => {
                        "is not the key of its certificate".into()
                    }
                    error => format!("cannot be used: {error}"),
                };
                TlsFault::Key(place, fault)
            })?;
            all.push(Arc::new(pair));
            if identity.hosts.is_empty() {
                by_own_names.push(place);
            }
            for host in identity.hosts {
                let host = host.strip_prefix('*').map(str::to_owned).unwrap_or(host);
                by_host.entry(host).or_insert(place);
            }
        }
        if all.is_empty() {
            return Err(TlsFault::Other("there is no certificate".into()));
        }
        Ok((Self { all, by_host, by_own_names }, known))
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let parent = name.find('.').map(|dot| &name[dot..]);
        let exact = self.by_host.get(&name);
        let place = exact.or_else(|| self.by_host.get(parent?)).copied().or_else(|| {
            let asked = ServerName::try_from(name.as_str()).ok()?;
            self.by_own_names.iter().copied().find(|place| self.is_for(*place, &asked))
        });
        self.all.get(place?)
    }

    fn is_for(&self, place: usize, name: &ServerName<'_>) -> bool {
        let end = self.all.get(place).and_then(|pair| pair.cert.first());
        let parsed = end.and_then(|end| ParsedCertificate::try_from(end).ok());
        parsed.is_some_and(|parsed| verify_server_name(&parsed, name).is_ok())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        named.or(self.all.first()).cloned()
    }
}
