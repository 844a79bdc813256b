//! A client's connection from its first request to its last.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use http::Version;

use crate::gateway::handle::handle;
use crate::gateway::http::client_conn::{ClientConn, CloseReason};
use crate::gateway::http::h1::body::BodyDecoder;
use crate::gateway::http::h1::conn::{Conn, Expectation, NextHead, RequestBody};
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::KnownHeader;
use crate::gateway::http::limits::Limits;
use crate::gateway::http::request_body::IncomingBody;
use crate::gateway::http::tls::transport::Transport;
use crate::gateway::http::write_batch;
use crate::gateway::server::lingering_close::close;
use crate::gateway::server::write_response::{ConnState, KeepAlive, RequestMeta, write_response};
use crate::gateway::upstream::h1::{names, says_close};
use crate::gateway::upstream::worker::Worker;
use crate::model::Reason;

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    client: &Rc<ClientConn>,
    stream: Transport,
    limits: &Limits,
) {
    let (clock, buffers) = (Rc::clone(worker.clock()), worker.buffers().clone());
    let line = Rc::new(Conn::new(stream, Rc::clone(client), clock, buffers));
    if worker.shared().is_draining() {
        client.end(CloseReason::Drain);
    }
    let ending = serve_requests(worker, &line, limits).await;
    // Nobody else has it: bodies and answers ended with the conversation.
    let Ok(line) = Rc::try_unwrap(line) else { return };
    if let Some(error) = close(client, line.into_stream(), ending).await {
        worker.early_log.refused(client.peer, error, worker.shared().now_ms());
        // It never became a request with a record, and yet it should be seen.
        worker.shared().stats.by_reason[Reason::BadRequest as usize].add_one();
    }
}

/// Request after request. Gives why it ended, if from our side.
async fn serve_requests(
    worker: &Rc<Worker>,
    line: &Rc<Conn>,
    limits: &Limits,
) -> Option<CloseReason> {
    let client = &line.client;
    let mut drains = false;
    loop {
        let next = poll_fn(|context| match client.asked_to_end(context) {
            Some(CloseReason::Drain) if client.is_between_requests() && line.is_quiet() => {
                Poll::Ready(Err(CloseReason::Drain))
            }
            Some(CloseReason::Drain) => {
                drains = true;
                line.poll_head(limits, context).map(Ok)
            }
            Some(ending) => Poll::Ready(Err(ending)),
            None => line.poll_head(limits, context).map(Ok),
        });
        let head = match next.await {
            Ok(NextHead::Head(head)) => head,
            Ok(NextHead::End) => return None,
            Err(ending) => return Some(ending),
        };
        let mut stays = if drains { KeepAlive::Closes } else { stays(&head) };
        let manner = RequestMeta { method: head.method.clone(), version: head.version };
        let body = IncomingBody::Http1(body(line, &head));
        // On the heap, and only while there is a request: an idle connection is small.
        let mut response = Box::pin(handle(Rc::clone(worker), Rc::clone(client), head, body));
        let answered = poll_fn(|context| {
            match client.asked_to_end(context) {
                Some(CloseReason::Drain) => stays = KeepAlive::Closes,
                Some(ending) => return Poll::Ready(Err(Some(ending))),
                None => {}
            }
            match response.as_mut().poll(context) {
                Poll::Ready(reply) => Poll::Ready(Ok(reply)),
                Poll::Pending => line.poll_gone(context).map(|()| Err(None)),
            }
        });
        let reply = match answered.await {
            Ok(reply) => reply,
            Err(ending) => return ending,
        };
        drop(response);
        write_batch::next_tick().await;
        match write_response(line, reply, manner, stays).await {
            Ok(ConnState::Whole) => {}
            Ok(ConnState::Last) => return None,
            Err(ending) => return Some(ending),
        }
    }
}

pub(crate) fn stays(head: &RequestHead) -> KeepAlive {
    if head.version == Version::HTTP_11 && !head.headers.has(KnownHeader::Connection) {
        return KeepAlive::Open;
    }
    // Beside `close`, `keep-alive` does not count (RFC 9112 §9.3).
    match head.version {
        _ if says_close(&head.headers) => KeepAlive::Closes,
        Version::HTTP_11 => KeepAlive::Open,
        Version::HTTP_10 if names(&head.headers, b"keep-alive") => KeepAlive::SaysSo,
        _ => KeepAlive::Closes,
    }
}

fn body(line: &Rc<Conn>, head: &RequestHead) -> RequestBody {
    let asks = head.version == Version::HTTP_11
        && head
            .headers
            .get(KnownHeader::Expect)
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    let body = BodyDecoder::of_request(&head.headers);
    let expectation = match asks && line.is_quiet() && !body.is_over() {
        true => Expectation::Continue,
        false => Expectation::None,
    };
    RequestBody::new(Rc::clone(line), body, expectation)
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri, Version};

    use super::{KeepAlive, stays};
    use crate::gateway::http::head::RequestHead;
    use crate::gateway::http::headers::Headers;

    #[test]
    fn close_counts_for_more_than_keep_alive() {
        let stays = |version, values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|value| ("connection", *value)).collect();
            let (method, uri) = (Method::GET, Uri::from_static("/"));
            stays(&RequestHead { method, uri, version, headers: Headers::of_lines(&lines) })
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!((stays(old, &[]), stays(new, &[])), (KeepAlive::Closes, KeepAlive::Open));
        assert_eq!(stays(old, &["x, Keep-Alive"]), KeepAlive::SaysSo);
        assert_eq!(stays(new, &["keep-alive", "x"]), KeepAlive::Open);
        for values in [&["close"][..], &["keep-alive, Close"], &["close", "keep-alive"]] {
            assert_eq!(
                (stays(old, values), stays(new, values)),
                (KeepAlive::Closes, KeepAlive::Closes)
            );
        }
    }
}
