//! An answer of Dify's on its way to a client of another protocol.
//!
//! Each piece of Dify's goes out as soon as it came, in the words of the route. What is to be known of
//! the conversation later is durable before the last frame leaves, so a client that has seen the end
//! can count on going on.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::adapter::{
    AppEvent, DecodeState, ResponseEncoder, ResponseStart, StreamDecoder, event_split,
};
use crate::gateway::ai::conversation::{AtEnd, Save};
use crate::gateway::proxy::relay::Relay;
use crate::gateway::proxy::response_body::FrameSource;
use crate::gateway::proxy::response_guard::ResponseGuard;
use crate::model::{GatewayError, Reason};

/// An answer of Dify on its way to a client in its protocol.
pub(super) struct TranslatedBody {
    guard: ResponseGuard,
    hearing: StreamDecoder,
    encoder: Box<dyn ResponseEncoder>,
    has_begun: bool,
    has_said: bool,
    /// What is to go out next.
    frames: BytesMut,
    heard: Vec<AppEvent>,
    /// What becomes of the conversation when the answer is whole.
    after: AtEnd,
    stage: Stage,
}

enum Stage {
    /// Dify is speaking.
    Decoding,
    /// The answer is whole and is being written down.
    Keeping(Save),
    Over,
}

impl TranslatedBody {
    /// Begins to tell an answer whose head is here.
    pub(super) fn new(
        guard: ResponseGuard,
        hearing: StreamDecoder,
        encoder: Box<dyn ResponseEncoder>,
        after: AtEnd,
    ) -> Self {
        Self {
            guard,
            hearing,
            encoder,
            has_begun: false,
            has_said: false,
            frames: BytesMut::new(),
            heard: Vec::new(),
            after,
            stage: Stage::Decoding,
        }
    }

    /// Waits for the first event that says something. A ping does not: Dify from 1.13 on sends one
    /// before it looks at a flow's request, and only what follows decides the status.
    ///
    /// # Errors
    /// The run failed before it said anything.
    pub(super) async fn first(&mut self) -> Result<(), GatewayError> {
        std::future::poll_fn(|context| {
            while !self.has_begun && !self.has_said && !matches!(self.stage, Stage::Over) {
                // Comments for pings go out only once the head has.
                self.frames.clear();
                if let Err(error) = ready!(self.poll_on(context)) {
                    if self.has_said {
                        self.fail(&error);
                        break;
                    }
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits for the whole answer, which is then all that is to go out.
    ///
    /// # Errors
    /// The run failed.
    pub(super) async fn sum_up(&mut self) -> Result<(), GatewayError> {
        std::future::poll_fn(|context| {
            while !matches!(self.stage, Stage::Over) {
                ready!(self.poll_on(context))?;
                self.frames.clear();
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        let whole = self.encoder.json_body(&self.begun(), self.hearing.summary());
        self.say_instead(whole);
        Ok(())
    }

    /// This text is all that is to go out.
    pub(super) fn say_instead(&mut self, text: Bytes) {
        self.frames = BytesMut::from(text);
        self.stage = Stage::Over;
    }

    /// What is known of the answer since its first event.
    pub(super) fn begun(&self) -> ResponseStart {
        self.hearing.response_start().cloned().unwrap_or_default()
    }

    /// The answer as Dify gives it; none once all was said.
    pub(super) fn relay(&mut self) -> Option<&mut Relay> {
        self.guard.get_mut()
    }

    /// Goes one step on.
    ///
    /// # Errors
    /// The run failed, or what it came to could not be written down.
    fn poll_on(&mut self, context: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        if let Stage::Keeping(kept) = &mut self.stage {
            let kept = ready!(kept.as_mut().poll(context));
            self.stage = Stage::Over;
            if kept.is_ok() {
                self.end();
            }
            return Poll::Ready(kept);
        }
        let Some(relay) = self.guard.get_mut() else {
            self.stage = Stage::Over;
            return Poll::Ready(Ok(()));
        };
        let piece = ready!(relay.poll_piece(context));
        let heard = &mut self.heard;
        let state = match piece {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.hearing.feed(&data, &mut |one| heard.push(one)),
                Err(_) => return Poll::Ready(Ok(())),
            },
            // Of an event stream the relay makes a proper end; anything else is cut.
            Some(Err(_)) | None => self.hearing.finish(&mut |one| heard.push(one)),
        };
        let state = state.clone();
        self.say();
        match state {
            DecodeState::Running => {}
            DecodeState::Finished => self.keep(),
            // What the client has got is where it goes on: Dify keeps little more.
            DecodeState::StopReached => {
                self.guard.cut_short();
                self.keep();
            }
            DecodeState::Failed(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    fn say(&mut self) {
        if !self.has_begun
            && let Some(begun) = self.hearing.response_start()
        {
            self.encoder.start(begun, &mut self.frames);
            self.has_begun = true;
        }
        self.has_said |= self.heard.iter().any(|heard| !matches!(heard, AppEvent::Ping));
        for heard in self.heard.drain(..) {
            match heard {
                AppEvent::Ping => self.encoder.keep_alive(&mut self.frames),
                heard => event_split::encode(&mut *self.encoder, heard, &mut self.frames),
            }
        }
    }

    fn keep(&mut self) {
        let begun = self.begun();
        let kept = match std::mem::replace(&mut self.after, AtEnd::Nothing) {
            AtEnd::Keep(keeping) => keeping.keep(&begun, self.hearing.summary()),
            AtEnd::Nothing => None,
            AtEnd::Delete => {
                self.guard.delete_afterwards();
                None
            }
        };
        match kept {
            Some(kept) => self.stage = Stage::Keeping(kept),
            None => self.end(),
        }
    }

    /// What the log is to know of the run, in Dify's own words.
    pub(super) fn remarks(&self) -> Option<String> {
        self.hearing.remarks().map(str::to_owned)
    }

    fn end(&mut self) {
        if let Some(relay) = self.guard.get_mut()
            && let Some(remarks) = self.hearing.remarks()
        {
            relay.record.note_if_none(remarks);
        }
        if !self.has_begun {
            self.encoder.start(&self.begun(), &mut self.frames);
            self.has_begun = true;
        }
        self.encoder.finish(self.hearing.summary(), &mut self.frames);
        self.stage = Stage::Over;
    }

    /// The run failed, which is told within the stream.
    pub(super) fn fail(&mut self, error: &GatewayError) {
        if let Some(relay) = self.guard.get_mut() {
            let remarks = self.hearing.remarks();
            relay.record.note_if_none(remarks.unwrap_or(&error.message));
            relay.record.end(Reason::Answered);
        }
        self.encoder.fail(error, self.hearing.summary(), &mut self.frames);
        self.stage = Stage::Over;
    }
}

impl FrameSource for TranslatedBody {
    fn is_over(&self) -> bool {
        self.frames.is_empty() && matches!(self.stage, Stage::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match self.stage {
            Stage::Over => SizeHint::with_exact(self.frames.len() as u64),
            _ => SizeHint::new(),
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        while self.frames.is_empty() {
            if matches!(self.stage, Stage::Over) {
                self.guard.settle();
                return Poll::Ready(None);
            }
            if let Err(error) = ready!(self.poll_on(context)) {
                self.fail(&error);
            }
        }
        let frames = self.frames.split().freeze();
        if let Some(relay) = self.guard.get() {
            relay.record.sent(frames.len());
        }
        if matches!(self.stage, Stage::Over) {
            self.guard.settle();
        }
        Poll::Ready(Some(Ok(Frame::data(frames))))
    }
}
