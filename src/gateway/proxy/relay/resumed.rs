//! The response of a flow whose API process has died, and that is gone on with (`gateway::resume`).

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::Relay;
use crate::dify::response_body::{CaughtUp, RunIds};
use crate::gateway::proxy::relay::step::Step;
use crate::gateway::proxy::resume::{ClientProtocol, Held, PING, Reconnect, ResumeContext};
use crate::gateway::proxy::tap::Left;
use crate::gateway::state::resume_outcome::ResumeOutcome;
use crate::gateway::upstream::attempt_error::AttemptError;
use crate::gateway::upstream::attempt_permit::AttemptPermit;
use crate::model::Reason;

impl Relay {
    /// What goes out of it cannot be taken back by an event of Dify's.
    pub(crate) fn is_for_ai_client(&mut self) {
        if let Some(resume) = &mut self.resume {
            resume.client = ClientProtocol::Ai;
        }
    }

    /// Whether its instance is waited for.
    pub(crate) fn is_reconnecting(&self) -> bool {
        self.resume.as_ref().is_some_and(|resume| resume.is_reconnecting())
    }

    /// Whether a piece says no more than that there is an API process: at `/workflow/{run}/events` it
    /// pings whether the run goes on or not.
    pub(super) fn is_no_progress(&self, piece: Option<&Bytes>) -> bool {
        let catches_up = self.resume.as_ref().is_some_and(|resume| resume.is_catching_up());
        catches_up && piece.is_some_and(|piece| piece == PING)
    }

    /// What of a piece goes out; none of it yet if it is empty.
    ///
    /// # Errors
    /// It is a part of an event that is too large.
    pub(super) fn passing(&mut self, piece: Bytes) -> Result<Bytes, String> {
        let Some(resume) = &mut self.resume else { return Ok(piece) };
        let mut events = match resume.pass(piece) {
            Held::Events(events) => events,
            Held::Unheld(_) if resume.is_catching_up() => {
                return Err("an event of the resumed run cannot be read".to_owned());
            }
            Held::Unheld(part) => {
                // Half of it is out: there is no going on.
                self.resume = None;
                return Ok(part);
            }
        };
        if self.body.as_ref().is_none_or(Body::is_end_stream) {
            let rest = resume.rest();
            events = if rest.is_empty() { events } else { [events, rest].concat().into() };
        }
        if let Some(outcome) = resume.take_outcome() {
            self.caught_up(outcome);
        }
        Ok(events)
    }

    fn caught_up(&mut self, outcome: CaughtUp) {
        let resumed = match outcome {
            CaughtUp::Continued => ResumeOutcome::Continued,
            CaughtUp::Differs => {
                self.record.note_more("its text does not continue what was sent");
                ResumeOutcome::Differs
            }
        };
        self.member.stats.resumed[resumed as usize].add_one();
    }

    /// Of a run that has turned out to be no flow nothing is held back, from this piece on.
    pub(super) fn without_resume(&mut self, piece: Bytes) -> Bytes {
        if self.watch.is_some() {
            return piece;
        }
        let Some(rest) = self.resume.take().map(|mut resume| resume.rest()) else { return piece };
        let owners = self.worker.shared().owners();
        self.tap.pass(&rest, Left::Some, &self.member, owners);
        [piece, rest].concat().into()
    }

    /// The response has come to its end; what was held back goes out.
    pub(super) fn held_back(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        let rest = self.resume.as_mut().map(|resume| resume.rest());
        rest.filter(|rest| !rest.is_empty()).map(|rest| Ok(Frame::data(rest)))
    }

    /// The response broke off: its run is taken up again, if it can be.
    pub(super) fn broke_off(&mut self, what: String) -> Step {
        if self.resume.as_ref().is_some_and(|resume| resume.has_told_end()) {
            self.body = None;
            self.learn();
            return Step::Out(self.end_after_all(&what));
        }
        let failure = AttemptError::cut(Reason::AnswerCut, &self.member, &what);
        let ids = self.tap.learned().and_then(RunIds::of);
        let from = ResumeContext {
            worker: &self.worker,
            member: &self.member,
            snapshot: &self.snapshot,
            request_id: self.record.request_id(),
        };
        let resume = self.resume.as_mut();
        if resume.is_some_and(|resume| resume.begin(ids, failure.text.clone(), &from)) {
            self.body = None;
            AttemptPermit::cut(&self.member, self.sender, &failure, self.worker.shared());
            Step::Again
        } else {
            Step::Out(self.cut(Reason::AnswerCut, what))
        }
    }

    /// Nothing is missing to the client but what follows its response.
    fn end_after_all(&mut self, what: &str) -> Option<io::Result<Frame<Bytes>>> {
        self.record.note_if_none(&format!("cut after the end of the run: {what}"));
        self.record.end(Reason::Answered);
        None
    }

    /// Waits for the run to be taken up again.
    pub(super) fn poll_reconnected(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let Some(resume) = &mut self.resume else { return Poll::Ready(Step::Again) };
        Poll::Ready(match ready!(resume.poll(context)) {
            Reconnect::Ping => Step::Out(Some(Ok(Frame::data(Bytes::from_static(PING))))),
            Reconnect::Here(body, what) => {
                self.record.note(what);
                self.body = Some(body);
                self.idle.moved();
                Step::Again
            }
            Reconnect::Never(text) => {
                self.member.stats.resumed[ResumeOutcome::Failed as usize].add_one();
                self.learn();
                Step::Out(match self.answered() {
                    true => self.end_after_all(&text),
                    false => self.end_cut(Reason::AnswerCut, text),
                })
            }
        })
    }
}
