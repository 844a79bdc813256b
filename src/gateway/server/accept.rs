//! A client's connection between its acceptance and its first request: TLS, where the configuration
//! says so, and which HTTP is spoken.

use std::rc::Rc;
use std::time::Duration;

use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::gateway::http::client_conn::ClientConn;
use crate::gateway::http::early_error::EarlyError;
use crate::gateway::http::tls::transport::Transport;
use crate::gateway::server::lingering_close::refuse;
use crate::gateway::server::{h1, h2};
use crate::gateway::state::shared::Handshake;
use crate::gateway::state::tls::listener::{Handshaken, ListenerTls, Protocol, TlsAcceptError};
use crate::gateway::upstream::attempt_error::chain;
use crate::gateway::upstream::worker::Worker;
use crate::model::{Reason, TlsMode};

/// Serves a connection to its end.
pub(crate) async fn accept(
    worker: &Rc<Worker>,
    client: &Rc<ClientConn>,
    stream: TcpStream,
    mode: TlsMode,
) {
    let (tls, limits, patience) = {
        let snapshot = worker.shared().snapshot();
        let tls = snapshot.tls.clone().filter(|_| mode != TlsMode::Off);
        (tls, snapshot.limits.clone(), snapshot.timeouts.header)
    };
    let Some(tls) = tls else {
        if mode == TlsMode::On {
            // No reload takes the certificates away. Where TLS is promised, nothing is said in the clear.
            tracing::debug!("client {}: there is no certificate any more", client.peer);
            return;
        }
        h1::serve(worker, client, Transport::Plain(stream), &limits).await;
        return;
    };
    client.speaks_tls();
    match Box::pin(tls_handshake(worker, client, &tls, stream, patience)).await {
        Some((transport, Protocol::Http1)) => {
            h1::serve(worker, client, transport, &limits).await;
        }
        Some((transport, Protocol::Http2)) => {
            Box::pin(h2::serve(worker, client, transport, &limits)).await;
        }
        None => {}
    }
}

async fn tls_handshake(
    worker: &Rc<Worker>,
    client: &Rc<ClientConn>,
    tls: &ListenerTls,
    stream: TcpStream,
    patience: Duration,
) -> Option<(Transport, Protocol)> {
    let stats = &worker.shared().stats;
    let count = |result: Handshake| stats.handshakes[result as usize].add_one();
    let shaken = timeout(patience, tls.accept(stream)).await;
    count(match &shaken {
        Ok(Ok(welcomed)) if welcomed.kind == Some(HandshakeKind::Resumed) => Handshake::Resumed,
        Ok(Ok(_)) => Handshake::Full,
        _ => Handshake::Failed,
    });
    match shaken {
        Ok(Ok(Handshaken { transport, protocol, .. })) => return Some((transport, protocol)),
        Ok(Err(TlsAcceptError::NotTls(stream))) => {
            tracing::debug!("client {}: no TLS", client.peer);
            stats.by_reason[Reason::BadRequest as usize].add_one();
            refuse(stream, EarlyError::NotTls).await;
        }
        Ok(Err(TlsAcceptError::Failed(error))) => {
            tracing::debug!("client {}: TLS handshake: {}", client.peer, chain(&error));
        }
        Err(_) => tracing::debug!("client {}: TLS handshake: too slow", client.peer),
    }
    None
}
