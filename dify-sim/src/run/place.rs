//! A place among the runs of an app, given back when it is dropped.

use crate::state::AppState;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) struct Place(Arc<AppState>);

impl Place {
    /// A place, and how many were taken before.
    pub(crate) fn take(app: &Arc<AppState>) -> (Self, usize) {
        let before = app.active.fetch_add(1, Ordering::Relaxed);
        (Self(Arc::clone(app)), before)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
