//! One request to a running gateway, or to an instance, for the commands that ask it something. No redirects.

use std::pin::pin;

use anyhow::{anyhow, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::Token;

/// A longer answer is an error: the status of a thousand instances takes less than one of these.
const ANSWER_LIMIT_BYTES: usize = 16 << 20;

/// A connection, in the clear or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Asks `host` for `path` over this connection, once, and gives the answer's status and body.
///
/// # Errors
/// The other end does not speak HTTP, closes the connection or answers at too great length.
pub(super) async fn get(
    stream: impl Stream,
    host: &str,
    path: &str,
    token: Option<&Token>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    exchange(stream, host, Request::get(path), token, Bytes::new()).await
}

/// Sends `json` to `path`, and gives the answer as [`get`] does.
///
/// # Errors
/// As of [`get`].
pub(super) async fn post(
    stream: impl Stream,
    host: &str,
    path: &str,
    token: Option<&Token>,
    json: Vec<u8>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json");
    exchange(stream, host, request, token, json.into()).await
}

async fn exchange(
    stream: impl Stream,
    host: &str,
    request: Builder,
    token: Option<&Token>,
    body: Bytes,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = request.header(HOST, host);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    let exchange = async {
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT_BYTES).collect().await;
        anyhow::Ok((status, body.map_err(|error| anyhow!(error))?.to_bytes()))
    };
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        done = &mut exchange => done,
        ended = connection => match exchange.await {
            // The end came with the answer, which is all there.
            Ok(answer) => Ok(answer),
            Err(_) => {
                ended?;
                bail!("{host} closed the connection");
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::get;

    async fn answered(answer: &'static str) -> anyhow::Result<(StatusCode, bytes::Bytes)> {
        let (ours, mut theirs) = duplex(4096);
        let server = tokio::spawn(async move {
            let mut request = [0; 1024];
            let _ = theirs.read(&mut request).await;
            theirs.write_all(answer.as_bytes()).await
        });
        let answer = get(ours, "dify", "/v1/info", None).await;
        server.await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn an_answer_that_comes_with_the_end_of_the_connection_is_an_answer() {
        for answer in [
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
            "HTTP/1.0 200 OK\r\n\r\n{}",
        ] {
            let (status, body) = answered(answer).await.unwrap();
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"{}"[..]), "{answer}");
        }
        for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"] {
            assert!(answered(answer).await.is_err(), "{answer}");
        }
    }
}
