//! What an instance said of an app, kept for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::adapter::AppInfo;

/// How long an instance's word is taken, in ms.
const FRESH_MS: u64 = 5 * 60 * 1000;

/// What one instance said of an app. It survives a reload with the instance.
#[derive(Debug, Default)]
pub struct AppInfoCell {
    facts: ArcSwapOption<AppInfo>,
    /// When it is to be asked again, on the gateway's clock in ms.
    ask_again_ms: AtomicU64,
}

impl AppInfoCell {
    /// What is known. None if nothing is, or if the caller is to ask again: only one is told so.
    pub(crate) fn known(&self, now_ms: u64) -> Option<Arc<AppInfo>> {
        let facts = self.facts.load_full()?;
        let due = self.ask_again_ms.load(Ordering::Relaxed);
        if due > now_ms {
            return Some(facts);
        }
        let next = now_ms + FRESH_MS;
        let order = Ordering::Relaxed;
        let is_mine = self.ask_again_ms.compare_exchange(due, next, order, order).is_ok();
        (!is_mine).then_some(facts)
    }

    pub(crate) fn at_any_age(&self) -> Option<Arc<AppInfo>> {
        self.facts.load_full()
    }

    /// This is what it says now.
    pub(crate) fn learn(&self, facts: &Arc<AppInfo>, now_ms: u64) {
        self.facts.store(Some(Arc::clone(facts)));
        self.ask_again_ms.store(now_ms + FRESH_MS, Ordering::Relaxed);
    }

    /// It has turned out to be wrong.
    pub(crate) fn forget(&self) {
        self.facts.store(None);
    }
}
