//! A gateway that speaks TLS, and clients for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::rig::certs::{Authority, folder};
use crate::rig::{Answer, Plan, Rig, send};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that speaks TLS, and who vouches for it.
pub(crate) struct Secured {
    pub rig: Rig,
    pub authority: Authority,
    pub folder: TempDir,
}

impl Secured {
    /// With a certificate for `localhost`.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// The same, with further settings.
    pub(crate) async fn with(settings: &str) -> Self {
        let authority = Authority::new();
        let folder = folder(&authority);
        let own = authority.issue(&["localhost"]).write(folder.path(), "gateway");
        let settings = settings.replace("FOLDER", folder.path().to_str().unwrap());
        let tls = format!("tls: [{}]\n{settings}", entry(&own, ""));
        let rig = Plan::new(1).without_probes().with(&tls).start().await;
        Self { rig, authority, folder }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.rig.addr()
    }

    /// A request over HTTP/1.1 on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Answer {
        let stream = connect(self.addr(), self.authority.client(), "localhost").await.unwrap();
        send_on(stream, request).await
    }

    pub(crate) async fn metric(&self, line: &str) -> bool {
        let metrics = send(self.rig.gateway.admin(), Request::get("/metrics").body("").unwrap());
        metrics.await.text().lines().any(|found| found == line)
    }
}

pub(crate) fn entry((cert, key): &(std::path::PathBuf, std::path::PathBuf), hosts: &str) -> String {
    format!("{{ cert: {}, key: {} {hosts} }}", cert.display(), key.display())
}

pub(crate) async fn connect(
    addr: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await?
}

pub(crate) async fn send_on(stream: TlsStream<TcpStream>, request: Request<Bytes>) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = request.map(Full::new);
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    whole(sender.send_request(request).await.unwrap()).await
}

pub(crate) async fn whole(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}
