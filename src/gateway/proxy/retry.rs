//! Whether a request may be sent to another instance: from data alone, in one place.
//!
//! A run costs money and has effects, and Dify knows no key by which it would notice a second one. So
//! a request that an instance may have acted on goes to no other, unless it changes nothing or the
//! app allows it.

use crate::gateway::proxy::select::Binding;
use crate::gateway::state::policy::{Executed, Retry};
use crate::gateway::state::pool_stats::PoolStats;
use crate::gateway::upstream::attempt_error::{AttemptError, Sent};
use crate::model::Reason;

/// What is left to a request.
#[derive(Debug)]
pub(crate) struct RetryState<'a> {
    retry: &'a Retry,
    stats: &'a PoolStats,
    repeat: Repeat,
    left: u32,
}

/// What sending a request twice does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Harmless,
    Twice,
}

/// Why no other instance is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It may have been executed, or it is tied to the one that failed.
    Rule,
    /// `retry.attempts` are used up.
    Attempts,
    /// The app's retry budget is.
    Budget,
}

impl<'a> RetryState<'a> {
    /// What is left to a request that has just come.
    pub(crate) fn new(retry: &'a Retry, stats: &'a PoolStats, repeat: Repeat) -> Self {
        Self { retry, stats, repeat, left: retry.attempts }
    }

    /// Whether another attempt is left at all, as far as can be told now.
    pub(crate) fn has_left(&self) -> bool {
        self.left > 0
    }

    /// Whether a response with this status is thrown away to ask another.
    pub(crate) fn discards(&self, status: u16, binding: Binding) -> bool {
        self.retry.statuses.contains(status) && self.left > 0 && self.may(Sent::Head, binding)
    }

    /// Takes out one attempt at another instance after `failure`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn take(&mut self, failure: &AttemptError, binding: Binding) -> Result<(), Denied> {
        let may = match failure.reason {
            // Nothing has been acted on; but who is tied to a busy one waits or comes again.
            Reason::Busy => binding == Binding::Free,
            _ => self.may(failure.sent, binding),
        };
        if !may {
            return Err(Denied::Rule);
        }
        self.left = self.left.checked_sub(1).ok_or(Denied::Attempts)?;
        if !self.stats.budget.take() {
            self.stats.retries_refused.add_one();
            return Err(Denied::Budget);
        }
        self.stats.retries.add_one();
        Ok(())
    }

    fn may(&self, sent: Sent, binding: Binding) -> bool {
        let harmless = match sent {
            Sent::Nothing | Sent::Some => true,
            Sent::All | Sent::Head => {
                self.repeat == Repeat::Harmless || self.retry.executed == Executed::Again
            }
        };
        harmless && binding != Binding::Owner
    }
}

/// A request pays in to its app's budget when its attempts are over: then the app's counters are at
/// hand. So it cannot live on what it pays itself.
impl Drop for RetryState<'_> {
    fn drop(&mut self) {
        self.stats.budget.pay_in(self.retry.budget);
    }
}

#[cfg(test)]
mod tests {
    use super::{Denied, Repeat, RetryState};
    use crate::balance::StatusSet;
    use crate::gateway::proxy::select::Binding;
    use crate::gateway::state::policy::{Executed, Retry};
    use crate::gateway::state::pool_stats::PoolStats;
    use crate::gateway::upstream::attempt_error::{AttemptError, Sent};
    use crate::model::Reason;

    fn failure(reason: Reason, sent: Sent) -> AttemptError {
        AttemptError { reason, sent, text: String::new() }
    }

    fn retry(executed: Executed) -> Retry {
        Retry { attempts: 2, budget: 200, statuses: StatusSet::new([503]), executed }
    }

    #[test]
    fn what_may_have_been_executed_goes_to_nobody_else() {
        let stats = PoolStats::default();
        for (sent, repeat, executed, may) in [
            (Sent::Nothing, Repeat::Twice, Executed::Once, true),
            (Sent::Some, Repeat::Twice, Executed::Once, true),
            (Sent::All, Repeat::Twice, Executed::Once, false),
            (Sent::Head, Repeat::Twice, Executed::Once, false),
            (Sent::All, Repeat::Harmless, Executed::Once, true),
            (Sent::Head, Repeat::Harmless, Executed::Once, true),
            (Sent::All, Repeat::Twice, Executed::Again, true),
        ] {
            let retry = retry(executed);
            let mut retries = RetryState::new(&retry, &stats, repeat);
            let taken = retries.take(&failure(Reason::InstanceClosed, sent), Binding::Key);
            assert_eq!(taken.is_ok(), may, "{sent:?} {repeat:?} {executed:?}");
            let taken = retries.take(&failure(Reason::InstanceClosed, sent), Binding::Owner);
            assert_eq!(taken, Err(Denied::Rule), "its data is nowhere else");
        }
    }

    #[test]
    fn only_listed_statuses_are_discarded_and_only_where_twice_is_allowed() {
        let (stats, once) = (PoolStats::default(), retry(Executed::Once));
        let get = RetryState::new(&once, &stats, Repeat::Harmless);
        assert!(get.discards(503, Binding::Key) && !get.discards(502, Binding::Key));
        assert!(!get.discards(503, Binding::Owner));
        assert!(!RetryState::new(&once, &stats, Repeat::Twice).discards(503, Binding::Key));
        let again = retry(Executed::Again);
        assert!(RetryState::new(&again, &stats, Repeat::Twice).discards(503, Binding::Key));
    }

    #[test]
    fn a_busy_instance_is_left_only_by_who_is_free() {
        let (stats, retry) = (PoolStats::default(), retry(Executed::Once));
        let busy = failure(Reason::Busy, Sent::Nothing);
        for (binding, may) in
            [(Binding::Free, true), (Binding::Key, false), (Binding::Owner, false)]
        {
            let mut retries = RetryState::new(&retry, &stats, Repeat::Twice);
            assert_eq!(retries.take(&busy, binding).is_ok(), may, "{binding:?}");
        }
    }

    #[test]
    fn attempts_and_budget_end() {
        let (stats, retry) = (PoolStats::default(), retry(Executed::Once));
        let refused = failure(Reason::ConnectFailed, Sent::Nothing);
        let mut retries = RetryState::new(&retry, &stats, Repeat::Twice);
        let taken: Vec<_> = (0..3).map(|_| retries.take(&refused, Binding::Key)).collect();
        assert_eq!(taken, [Ok(()), Ok(()), Err(Denied::Attempts)]);
        while stats.budget.take() {}
        let mut retries = RetryState::new(&retry, &stats, Repeat::Twice);
        assert_eq!(retries.take(&refused, Binding::Key), Err(Denied::Budget));
        assert_eq!((stats.retries.get(), stats.retries_refused.get()), (2, 1));
    }

    #[test]
    fn a_request_pays_in_when_its_attempts_are_over() {
        let (stats, retry) = (PoolStats::default(), retry(Executed::Once));
        while stats.budget.take() {}
        let requests: Vec<_> =
            (0..5).map(|_| RetryState::new(&retry, &stats, Repeat::Twice)).collect();
        assert_eq!(stats.budget.left(), 0);
        drop(requests);
        assert_eq!(stats.budget.left(), 1, "five times 20 % of a retry");
    }
}
