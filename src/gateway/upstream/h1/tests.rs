//! What is known of a request whose connection ended before its answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::{Method, StatusCode};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{Answering, Connection, Gear, SendError, Written};
use crate::gateway::http::buffered_body::Kept;
use crate::gateway::http::buffered_body::Replay;
use crate::gateway::http::head::AnswerHead;
use crate::gateway::http::send_state::Progress;
use crate::gateway::http::tls::transport::Transport;
use crate::gateway::state::tls::instance::{Authorities, InstanceTls};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: dify\r\nContent-Length: 0\r\n\r\n";

/// A new connection, and its other end.
fn pair() -> (Box<Connection>, TcpStream) {
    let (near, far) = sockets();
    (connection(Transport::Plain(near)), far)
}

fn sockets() -> (tokio::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_nonblocking(true).unwrap();
    (tokio::net::TcpStream::from_std(near).unwrap(), listener.accept().unwrap().0)
}

fn connection(stream: Transport) -> Box<Connection> {
    Box::new(Connection::new(stream, Gear::new()))
}

type Done = Result<(AnswerHead, Answering), (SendError, Written)>;

async fn exchange(connection: Box<Connection>, method: Method) -> Done {
    let body = Replay::new(Kept::EMPTY, Progress::default());
    let due = Instant::now() + Duration::from_secs(60);
    connection.exchange(&method, |out| out.extend_from_slice(REQUEST), body, due).await
}

/// A connection that has carried a request before.
async fn used() -> (Box<Connection>, TcpStream) {
    let (near, mut far) = pair();
    far.write_all(ANSWER).unwrap();
    let near = again(exchange(near, Method::POST).await);
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    (near, far)
}

fn again(done: Done) -> Box<Connection> {
    let (head, answering) = done.unwrap_or_else(|failed| panic!("{failed:?}"));
    assert_eq!(head.status, StatusCode::OK);
    answering.into_connection().expect("it stays open")
}

async fn failed(connection: Box<Connection>, method: Method) -> (SendError, Written) {
    match exchange(connection, method).await {
        Ok((head, _)) => panic!("an answer: {head:?}"),
        Err(failed) => failed,
    }
}

#[tokio::test]
async fn a_post_on_a_connection_that_was_closed_before_was_not_sent() {
    for _ in 0..50 {
        let (near, far) = used().await;
        drop(far);
        let found = failed(near, Method::POST).await;
        assert!(matches!(found, (SendError::Closed(_), Written::Nothing)), "{found:?}");
    }
    // On a new one as well.
    let (near, far) = pair();
    drop(far);
    let found = failed(near, Method::POST).await;
    assert!(matches!(found, (SendError::Closed(_), Written::Nothing)), "{found:?}");
}

#[tokio::test]
async fn a_post_that_was_read_may_have_been_acted_on_however_soon_its_connection_is_closed() {
    for _ in 0..50 {
        let (near, mut far) = used().await;
        let reading = thread::spawn(move || far.read_exact(&mut [0; REQUEST.len()]).unwrap());
        let found = failed(near, Method::POST).await;
        reading.join().unwrap();
        assert!(matches!(found, (SendError::Closed(_), Written::Something)), "{found:?}");
    }
}

#[tokio::test]
async fn a_reset_proves_nothing() {
    let (near, far) = used().await;
    // What is there and was not read makes it a reset.
    let waiting = thread::spawn(move || far.peek(&mut [0]).unwrap());
    let found = failed(near, Method::POST).await;
    waiting.join().unwrap();
    assert!(matches!(found, (SendError::Broken(_), Written::Something)), "{found:?}");
}

#[tokio::test]
async fn a_system_that_does_not_count_proves_nothing() {
    let (mut near, far) = used().await;
    // As where nothing is ever counted, or something else.
    near.taken += 1;
    drop(far);
    let found = failed(near, Method::POST).await;
    assert!(matches!(found, (SendError::Closed(_), Written::Something)), "{found:?}");
}

/// A connection behind TLS that has carried a request before, and its other end.
async fn used_tls() -> (Box<Connection>, TlsStream<tokio::net::TcpStream>) {
    let own = rcgen::generate_simple_self_signed(vec!["dify".to_owned()]).unwrap();
    let authorities = Authorities::new(Some(own.cert.pem().as_bytes())).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
    let (near, far) = sockets();
    far.set_nonblocking(true).unwrap();
    let far = tokio::net::TcpStream::from_std(far).unwrap();
    let tls = InstanceTls::new(&authorities, "dify").unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (near, far) = tokio::join!(tls.shake_hands(near), acceptor.accept(far));
    let mut far = TlsStream::from(far.unwrap());
    let answer = async {
        far.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
        far.write_all(ANSWER).await.unwrap();
    };
    let near = connection(near.unwrap());
    let (done, ()) = tokio::join!(exchange(near, Method::POST), answer);
    (again(done), far)
}

#[tokio::test]
async fn behind_tls_a_post_after_the_close_was_not_sent_and_one_before_may_have_been() {
    let (near, far) = used_tls().await;
    drop(far);
    let found = failed(near, Method::POST).await;
    assert!(matches!(found, (SendError::Closed(_), Written::Nothing)), "{found:?}");

    let (near, mut far) = used_tls().await;
    far.shutdown().await.unwrap();
    drop(far);
    let found = failed(near, Method::POST).await;
    assert!(matches!(found, (SendError::Closed(_), Written::Nothing)), "by a word: {found:?}");

    let (near, mut far) = used_tls().await;
    let read = async {
        far.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
        drop(far);
    };
    let (found, ()) = tokio::join!(failed(near, Method::POST), read);
    assert!(matches!(found, (SendError::Closed(_), Written::Something)), "{found:?}");
}
