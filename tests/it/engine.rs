//! Which engine speaks HTTP/1, as it can be seen from outside.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Plan, TOKEN};

/// What a client gets that sends a request and half of the next one.
async fn answers(engine: &str) -> String {
    let plan = Plan::new(1)
        .with(&format!("engine: {engine}\ntimeouts: {{ header: 300ms, keep_alive: 1s }}"));
    let rig = plan.without_probes().start().await;
    let mut stream = TcpStream::connect(rig.gateway.listen()).await.unwrap();
    let request = format!("GET /v1/info HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n");
    stream.write_all(format!("{request}\r\n{request}").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn our_own_engine_sees_a_head_behind_a_request_and_hyper_does_not_show_it() {
    let (own, hyper) = tokio::join!(answers("own"), answers("hyper"));
    assert!(own.starts_with("HTTP/1.1 200 OK") && own.contains("HTTP/1.1 408"), "{own}");
    assert!(hyper.starts_with("HTTP/1.1 200 OK") && !hyper.contains("HTTP/1.1 408"), "{hyper}");
}
