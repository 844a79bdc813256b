//! One timer for many waits.
//!
//! Arming and disarming a timer for each request costs more than routing it. An alarm that is put
//! off lets its timer run; when that rings early it is set again for what is left.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings when its time has come.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `due` is over.
    pub(crate) fn poll(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(context).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::Alarm;

    #[tokio::test]
    async fn an_alarm_that_is_put_off_or_forward_rings_in_time() {
        let (mut alarm, begin) = (Alarm::default(), Instant::now());
        let due = |millis| begin + Duration::from_millis(millis);
        let wait = |millis| Duration::from_millis(millis);
        assert!(timeout(wait(1), poll_fn(|cx| alarm.poll(due(30), cx))).await.is_err());
        poll_fn(|cx| alarm.poll(due(90), cx)).await;
        assert!(Instant::now() >= due(90));
        assert!(timeout(wait(1), poll_fn(|cx| alarm.poll(due(900_000), cx))).await.is_err());
        let soon = Instant::now() + wait(20);
        assert!(timeout(wait(60_000), poll_fn(|cx| alarm.poll(soon, cx))).await.is_ok());
    }
}
