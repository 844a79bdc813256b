//! A client's connection from its first request to its last.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use http::Version;

use crate::gateway::handle::handle;
use crate::gateway::http::client_conn::{Client, Ending};
use crate::gateway::http::h1::body::Body;
use crate::gateway::http::h1::conn::{Expectation, Line, Next, RequestBody};
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::header_name::Name;
use crate::gateway::http::limits::Limits;
use crate::gateway::http::request_body::Arriving;
use crate::gateway::http::tls::transport::Transport;
use crate::gateway::http::write_batch;
use crate::gateway::server::lingering_close::close;
use crate::gateway::server::write_response::{Manner, Stays, Told, tell};
use crate::gateway::upstream::h1::{names, says_close};
use crate::gateway::upstream::worker::Worker;
use crate::model::Reason;

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    stream: Transport,
    limits: &Limits,
) {
    let (clock, gear) = (Rc::clone(worker.clock()), worker.gear().clone());
    let line = Rc::new(Line::new(stream, Rc::clone(client), clock, gear));
    if worker.shared().is_draining() {
        client.end(Ending::Drain);
    }
    let ending = converse(worker, &line, limits).await;
    // Nobody else has it: bodies and answers ended with the conversation.
    let Ok(line) = Rc::try_unwrap(line) else { return };
    if let Some(error) = close(client, line.into_stream(), ending).await {
        worker.early_log.refused(client.peer, error, worker.shared().now_ms());
        // It never became a request with a record, and yet it should be seen.
        worker.shared().stats.by_reason[Reason::BadRequest as usize].add_one();
    }
}

/// Request after request. Gives why it ended, if from our side.
async fn converse(worker: &Rc<Worker>, line: &Rc<Line>, limits: &Limits) -> Option<Ending> {
    let client = &line.client;
    let mut drains = false;
    loop {
        let next = poll_fn(|context| match client.asked_to_end(context) {
            Some(Ending::Drain) if client.is_between_requests() && line.is_quiet() => {
                Poll::Ready(Err(Ending::Drain))
            }
            Some(Ending::Drain) => {
                drains = true;
                line.poll_head(limits, context).map(Ok)
            }
            Some(ending) => Poll::Ready(Err(ending)),
            None => line.poll_head(limits, context).map(Ok),
        });
        let head = match next.await {
            Ok(Next::Head(head)) => head,
            Ok(Next::End) => return None,
            Err(ending) => return Some(ending),
        };
        let mut stays = if drains { Stays::Closes } else { stays(&head) };
        let manner = Manner { method: head.method.clone(), version: head.version };
        let body = Arriving::Http1(body(line, &head));
        // On the heap, and only while there is a request: an idle connection is small.
        let mut answer = Box::pin(handle(Rc::clone(worker), Rc::clone(client), head, body));
        let answered = poll_fn(|context| {
            match client.asked_to_end(context) {
                Some(Ending::Drain) => stays = Stays::Closes,
                Some(ending) => return Poll::Ready(Err(Some(ending))),
                None => {}
            }
            match answer.as_mut().poll(context) {
                Poll::Ready(reply) => Poll::Ready(Ok(reply)),
                Poll::Pending => line.poll_gone(context).map(|()| Err(None)),
            }
        });
        let reply = match answered.await {
            Ok(reply) => reply,
            Err(ending) => return ending,
        };
        drop(answer);
        write_batch::ended().await;
        match tell(line, reply, manner, stays).await {
            Ok(Told::Whole) => {}
            Ok(Told::Last) => return None,
            Err(ending) => return Some(ending),
        }
    }
}

pub(crate) fn stays(head: &RequestHead) -> Stays {
    if head.version == Version::HTTP_11 && !head.fields.has(Name::Connection) {
        return Stays::Open;
    }
    // Beside `close`, `keep-alive` does not count (RFC 9112 §9.3).
    match head.version {
        _ if says_close(&head.fields) => Stays::Closes,
        Version::HTTP_11 => Stays::Open,
        Version::HTTP_10 if names(&head.fields, b"keep-alive") => Stays::SaysSo,
        _ => Stays::Closes,
    }
}

fn body(line: &Rc<Line>, head: &RequestHead) -> RequestBody {
    let asks = head.version == Version::HTTP_11
        && head
            .fields
            .get(Name::Expect)
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    let body = Body::of_request(&head.fields);
    let expectation = match asks && line.is_quiet() && !body.is_over() {
        true => Expectation::Continue,
        false => Expectation::None,
    };
    RequestBody::new(Rc::clone(line), body, expectation)
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri, Version};

    use super::{Stays, stays};
    use crate::gateway::http::head::RequestHead;
    use crate::gateway::http::headers::Fields;

    #[test]
    fn close_counts_for_more_than_keep_alive() {
        let stays = |version, values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|value| ("connection", *value)).collect();
            let (method, uri) = (Method::GET, Uri::from_static("/"));
            stays(&RequestHead { method, uri, version, fields: Fields::of_lines(&lines) })
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!((stays(old, &[]), stays(new, &[])), (Stays::Closes, Stays::Open));
        assert_eq!(stays(old, &["x, Keep-Alive"]), Stays::SaysSo);
        assert_eq!(stays(new, &["keep-alive", "x"]), Stays::Open);
        for values in [&["close"][..], &["keep-alive, Close"], &["close", "keep-alive"]] {
            assert_eq!((stays(old, values), stays(new, values)), (Stays::Closes, Stays::Closes));
        }
    }
}
