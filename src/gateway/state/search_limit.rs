//! How many searches for the owner of an id are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::affinity::Scope;

/// Searches at a time, of an app and of one of its users.
const MOST: usize = 20;
const MOST_OF_A_USER: usize = 5;

/// The searches of an app that are under way: whose each is, and 0 where there is none.
#[derive(Debug, Default)]
pub struct SearchLimiter([AtomicU64; MOST]);

/// A search under way, counted until dropped.
pub(crate) struct SearchPermit(Arc<SearchLimiter>, usize);

impl SearchPermit {
    /// None where too many are under way.
    pub(crate) fn begin(searches: &Arc<SearchLimiter>, scope: Scope) -> Option<Self> {
        let places = &searches.0;
        let number = scope.number();
        let own = places.iter().filter(|place| place.load(Ordering::Acquire) == number).count();
        if own >= MOST_OF_A_USER {
            return None;
        }
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let is_mine =
            |place: &AtomicU64| place.compare_exchange(0, number, order.0, order.1).is_ok();
        let place = places.iter().position(is_mine)?;
        Some(Self(Arc::clone(searches), place))
    }
}

impl Drop for SearchPermit {
    fn drop(&mut self) {
        self.0.0[self.1].store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MOST, MOST_OF_A_USER, SearchPermit};
    use crate::affinity::Scope;

    #[test]
    fn searches_are_bounded_by_user_and_by_app() {
        let searches = Arc::default();
        let of = |user: &str| SearchPermit::begin(&searches, Scope::new("shop", user));
        let mut alice: Vec<_> = (0..10).map_while(|_| of("alice")).collect();
        assert_eq!(alice.len(), MOST_OF_A_USER);
        let others: Vec<_> = (0..50).filter_map(|n| of(&n.to_string())).collect();
        assert_eq!(others.len(), MOST - MOST_OF_A_USER);
        assert!(of("bob").is_none());
        alice.pop();
        assert!(of("bob").is_some());
    }
}
