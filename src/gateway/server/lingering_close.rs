//! How a client's connection ends: with the last answer delivered, also when the request could not
//! even be read.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::gateway::http::client_conn::{Client, Ending};
use crate::gateway::http::early_error::EarlyError;
use crate::gateway::http::tls::transport::Transport;

/// What a client that was refused early may still send before its connection is cut. Closing with
/// unread bytes would reset the connection and could take the answer with it.
const LINGER_BYTES: usize = 32 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Closes a connection after its last request, so that the last answer arrives. Gives the error of
/// a head that never became a request.
pub(crate) async fn close(
    client: &Client,
    mut stream: Transport,
    ending: Option<Ending>,
) -> Option<EarlyError> {
    if client.needs_reset() {
        // RFC 9112 §8: closed properly, the answer would pass for whole.
        stream.reset_on_drop();
        return None;
    }
    if ending == Some(Ending::NotTaken) {
        // What the system still holds for it would wait as long as it does.
        stream.reset_on_drop();
        return None;
    }
    let error = match ending {
        Some(Ending::HeaderTimeout) => Some(EarlyError::TooSlow),
        _ => client.early_error(),
    };
    if let Some(error) = error {
        // Best effort: a client that does not read either is simply closed.
        let _ = timeout(LINGER, stream.write_all(&error.response())).await;
    }
    let shut = timeout(LINGER, stream.shutdown()).await.is_ok_and(|shut| shut.is_ok());
    if shut && (error.is_some() || client.has_unread()) {
        // Whatever comes after that is the client's loss.
        let _ = timeout(LINGER, swallow(&mut stream)).await;
    }
    error
}

/// Refuses a connection on which no HTTP was spoken yet.
pub(crate) async fn refuse(mut stream: TcpStream, error: EarlyError) {
    // Best effort, as above.
    let _ = timeout(LINGER, async {
        stream.write_all(&error.response()).await?;
        stream.shutdown().await?;
        swallow(&mut stream).await;
        Ok::<_, std::io::Error>(())
    })
    .await;
}

async fn swallow(stream: &mut (impl AsyncRead + Unpin)) {
    let mut waste = vec![0; 16 * 1024];
    let mut left = LINGER_BYTES;
    while let Ok(read @ 1..) = stream.read(&mut waste).await {
        left = left.saturating_sub(read);
        if left == 0 {
            break;
        }
    }
}
