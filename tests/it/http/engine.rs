//! How HTTP/1 is spoken, as it can be seen from outside.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Plan, TOKEN};

#[tokio::test]
async fn half_a_head_behind_a_request_is_seen_and_timed() {
    let plan = Plan::new(1).with("timeouts: { header: 300ms, keep_alive: 1s }");
    let rig = plan.without_probes().start().await;
    let mut stream = TcpStream::connect(rig.gateway.listen()).await.unwrap();
    let request = format!("GET /v1/info HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n");
    stream.write_all(format!("{request}\r\n{request}").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("HTTP/1.1 408"), "{text}");
}
