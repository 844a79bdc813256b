//! The limit on an answer's silence.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// Notices that nothing has moved for too long, with one timer per silence and not per piece.
pub(crate) struct Idle {
    limit: Duration,
    /// When the silence was first noticed.
    since: Option<Instant>,
    alarm: Option<Alarm>,
}

struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// Not before this it rings.
    due: Instant,
    /// Whom it wakes, if it is set.
    waker: Waker,
    /// The timer knows its waker. It does not hear of it from a task that has used up its turn.
    is_set: bool,
}

impl Idle {
    /// Nothing may move for as long as this.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, alarm: None }
    }

    /// The limit.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// When the silence that is under way was noticed: about when the last piece came.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Something has moved.
    pub(crate) fn moved(&mut self) {
        self.since = None;
    }

    /// Ready when the limit is over. The timer runs on over pieces that move; when it rings early it
    /// is set again for what is left.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            // It has not rung, and will wake whoever waits now. Of thousands of streams the timers
            // are far from the processor, so they are not looked at for each event.
            let will_ring = |alarm: &Alarm| {
                alarm.is_set && now < alarm.due && alarm.waker.will_wake(context.waker())
            };
            if self.alarm.as_ref().is_some_and(will_ring) {
                return Poll::Pending;
            }
        }
        self.look(context)
    }

    fn look(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let alarm = self.alarm.get_or_insert_with(|| {
            let (timer, waker) = (Box::pin(sleep_until(due)), context.waker().clone());
            Alarm { timer, due, waker, is_set: false }
        });
        alarm.waker.clone_from(context.waker());
        loop {
            alarm.is_set = has_budget_remaining();
            ready!(alarm.timer.as_mut().poll(context));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            alarm.timer.as_mut().reset(due);
            alarm.due = due;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::{Instant, sleep, timeout};

    use super::Idle;

    const LIMIT: Duration = Duration::from_millis(80);

    /// It rings, and not before its limit.
    async fn rings(idle: &mut Idle) {
        let (began, patience) = (Instant::now(), Duration::from_secs(10));
        // Who is woken by the end of patience finds that it should have rung.
        let _ = timeout(patience, poll_fn(|context| idle.poll(context))).await;
        let took = began.elapsed();
        assert!(LIMIT <= took && took < patience, "{took:?}");
    }

    async fn is_silent_now(idle: &mut Idle) {
        let polled = poll_fn(|context| Poll::Ready(idle.poll(context)));
        assert!(polled.await.is_pending());
    }

    #[tokio::test]
    async fn silence_is_counted_from_what_moved_last() {
        let mut idle = Idle::new(LIMIT);
        for _ in 0..4 {
            is_silent_now(&mut idle).await;
            sleep(LIMIT / 2).await;
            idle.moved();
        }
        rings(&mut idle).await;
    }

    #[tokio::test]
    async fn what_rang_while_something_moved_is_set_again() {
        let mut idle = Idle::new(LIMIT);
        is_silent_now(&mut idle).await;
        sleep(LIMIT * 2).await;
        idle.moved();
        rings(&mut idle).await;
    }

    #[tokio::test]
    async fn a_task_that_has_used_up_its_turn_is_woken_all_the_same() {
        let mut idle = Idle::new(LIMIT);
        let mut spent = false;
        poll_fn(|context| {
            if spent {
                return Poll::Ready(());
            }
            while let Poll::Ready(turn) = tokio::task::coop::poll_proceed(context) {
                turn.made_progress();
            }
            spent = true;
            assert!(idle.poll(context).is_pending());
            Poll::Pending
        })
        .await;
        idle.moved();
        rings(&mut idle).await;
    }

    #[tokio::test]
    async fn it_wakes_who_waits_now() {
        let mut idle = Idle::new(LIMIT);
        for _ in 0..2 {
            let task = tokio::spawn(async move {
                is_silent_now(&mut idle).await;
                idle.moved();
                idle
            });
            idle = task.await.unwrap();
        }
        rings(&mut idle).await;
    }
}
