//! The retry budget: how many requests may be repeated, as a share of all that come.
//!
//! When instances fail, retries multiply the load on those that are left. A budget bounds that:
//! each request pays in its share, each retry takes out one. A reserve lets a quiet app retry too.
//! One atomic; an app whose budget is full, which is nearly always, costs a load a request.

use std::sync::atomic::{AtomicU32, Ordering};

/// What one retry costs, in the budget's unit.
const RETRY: u32 = 1000;

/// Retries that a full budget holds: an app may repeat so many at once, whatever its traffic.
const RESERVE: u32 = 100;

/// The retries that an app may still make.
#[derive(Debug)]
pub struct Budget {
    /// In thousandths of a retry.
    left: AtomicU32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AtomicU32::new(RESERVE * RETRY) }
    }
}

impl Budget {
    /// A request came: it pays in `share` thousandths of a retry.
    pub fn pay_in(&self, share: u32) {
        const FULL: u32 = RESERVE * RETRY;
        if self.left.load(Ordering::Relaxed) >= FULL {
            return;
        }
        let more = |left: u32| (left < FULL).then_some((left + share.min(RETRY)).min(FULL));
        // Nothing changed: it is full by now.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes out one retry; false when none is left.
    pub fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(RETRY);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Whole retries left.
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed) / RETRY
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, RESERVE};

    #[test]
    fn a_full_budget_holds_the_reserve_and_no_more() {
        let budget = Budget::default();
        (0..1000).for_each(|_| budget.pay_in(200));
        assert_eq!((0..1000).filter(|_| budget.take()).count(), RESERVE as usize);
        assert_eq!(budget.left(), 0);
    }

    #[test]
    fn in_the_long_run_retries_are_the_share_of_requests() {
        let budget = Budget::default();
        while budget.take() {}
        let retried = (0..10_000).filter(|_| {
            budget.pay_in(200);
            budget.take()
        });
        assert_eq!(retried.count(), 2000);
    }

    #[test]
    fn without_a_share_only_the_reserve_is_retried() {
        let budget = Budget::default();
        let retried = (0..10_000).filter(|_| {
            budget.pay_in(0);
            budget.take()
        });
        assert_eq!(retried.count(), RESERVE as usize);
    }

    #[test]
    fn taking_and_paying_from_two_threads_loses_nothing() {
        let budget = Budget::default();
        while budget.take() {}
        let taken = std::thread::scope(|scope| {
            let payer = scope.spawn(|| (0..100_000).for_each(|_| budget.pay_in(1)));
            let taker = scope.spawn(|| (0..200_000).filter(|_| budget.take()).count());
            payer.join().unwrap();
            taker.join().unwrap()
        });
        let rest = (0..1000).filter(|_| budget.take()).count();
        assert_eq!(taken + rest, 100);
    }
}
