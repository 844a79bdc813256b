//! How a response ends: whole, broken off, or without the client.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body::{Body, Frame};

use super::Relay;
use crate::gateway::proxy::error_event::error_event;
use crate::gateway::proxy::errors;
use crate::gateway::proxy::tap::Tap;
use crate::gateway::proxy::unheard::Unheard;
use crate::gateway::upstream::attempt_error::AttemptError;
use crate::gateway::upstream::attempt_permit::Trust;
use crate::gateway::upstream::conn_pool::Inflow;
use crate::gateway::upstream::held;
use crate::model::Reason;

impl Relay {
    /// The run was stopped, and why.
    pub(crate) fn note_stopped(&mut self, why: &str) {
        self.app.stats.stopped.add_one();
        self.record.note(why.to_owned());
    }

    /// The client of a streamed run went away before the run's task was known.
    pub(crate) fn note_left_before_task(&mut self) {
        self.app.stats.left_before_task.add_one();
    }

    /// The answer was read to its end although its client went away.
    pub(crate) fn note_drained(&mut self) {
        self.app.stats.drained.add_one();
        self.record.note_if_none("the client went away; the run went on to its end");
    }

    /// The client gets no more; what Dify still sends is read in the background.
    pub(crate) fn hold_rest(&mut self) {
        let Some(body) = self.body.take() else { return };
        self.learn();
        self.record.end(Reason::Answered);
        held::hold(&self.worker, &self.member, body);
    }

    /// A flow has not started in time. Its client gets Dify's error event and a proper end; the run may
    /// still be done, so it goes to nobody else, and what Dify has to say is read on.
    pub(super) fn not_started(&mut self) -> Bytes {
        let span = self.watch.as_ref().map(|watch| watch.span()).unwrap_or_default();
        self.learn();
        let waited = span.as_secs_f64();
        let name = self.member.name();
        self.record
            .note(format!("{name}: no event of the run within {waited} s: queued, or no worker"));
        self.record.end(Reason::RunNotStarted);
        let event = error_event(&errors::run_not_started(), self.tap.learned());
        if let (Some(body), Some(flight)) = (self.body.take(), self.flight.take()) {
            let tap = std::mem::replace(&mut self.tap, Tap::Off);
            let (member, worker) = (Arc::clone(&self.member), Rc::clone(&self.worker));
            let unheard = Unheard { body, tap, watch: self.watch.take(), member, worker };
            unheard.leave(flight, self.snapshot.timeouts.all_attempts);
        }
        if self.in_event { [b"\n\n", event.as_ref()].concat().into() } else { event }
    }

    /// Who sends it does not ask for more once `Content-Length` is reached, so the end is noticed here.
    pub(super) fn finish_if_over(&mut self) {
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
    }

    /// The answer is whole: the connection can carry another request.
    pub(super) fn finish(&mut self) {
        let body = self.body.take();
        self.learn();
        self.record.end(Reason::Answered);
        if let Some(connection) = body.and_then(Inflow::into_connection) {
            self.worker.connections.put(&self.member.instance, connection);
        }
    }

    pub(super) fn learn(&mut self) {
        self.tap.end(&self.member, self.worker.shared().owners());
        if let Some(usage) = self.tap.usage() {
            self.record.used(usage);
        }
        if let Some(why) = self.tap.failure() {
            self.record.explain(&why);
        }
        if let Some((asked, given)) = self.tap.strays() {
            self.app.stats.wrong_conversation.add_one();
            let (app, member) = (&self.app.name, self.member.name());
            let text = format!("{member} answered a turn of conversation {asked} in {given}");
            tracing::error!(
                "app {app}: {text}: it does not have the conversation and began another"
            );
            self.record.note(text);
        }
    }

    /// The answer broke off. A client of a stream gets Dify's error event and a proper end; any other
    /// answer ends visibly broken, because what is missing cannot be made up for.
    pub(super) fn cut(&mut self, reason: Reason, what: String) -> Option<io::Result<Frame<Bytes>>> {
        self.body = None;
        self.learn();
        if self.answered() {
            self.record.note_if_none(&format!("the stream was cut after its answer: {what}"));
            self.record.end(Reason::Answered);
            return None;
        }
        let failure = AttemptError::cut(reason, &self.member, &what);
        Trust::cut(&self.member, self.sender, &failure, self.worker.shared());
        self.end_cut(reason, failure.text)
    }

    pub(super) fn end_cut(
        &mut self,
        reason: Reason,
        text: String,
    ) -> Option<io::Result<Frame<Bytes>>> {
        self.record.note(text);
        self.record.end(reason);
        if self.is_event_stream {
            let event = error_event(&errors::answer_cut(reason), self.tap.learned());
            let event =
                if self.in_event { [b"\n\n", event.as_ref()].concat().into() } else { event };
            Some(Ok(Frame::data(event)))
        } else {
            Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the instance's answer was cut")))
        }
    }
}
