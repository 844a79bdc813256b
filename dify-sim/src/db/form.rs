//! Forms that humans fill while a run is paused.

use crate::live::Live;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// Forms kept.
const FORM_LIMIT: usize = 10_000;

/// Goes on with a paused run whose form was filled; its events go to these listeners.
pub(crate) type Resume = Box<dyn FnOnce(Arc<Live>, Filled) + Send>;

/// A form that a human is to fill.
pub(crate) struct Form {
    pub(crate) id: Uuid,
    pub(crate) app: Uuid,
    pub(crate) run: Uuid,
    pub(crate) content: String,
    pub(crate) expires_at: i64,
    /// What was filled in, once it was.
    pub(crate) filled: Option<Filled>,
    /// What goes on with the run, once it is paused.
    pub(crate) resume: Option<Resume>,
}

/// The forms by token, the oldest ones dropped beyond the limit.
#[derive(Default)]
pub(crate) struct Forms {
    rows: HashMap<String, Form>,
    order: VecDeque<String>,
}

impl Forms {
    pub(crate) fn insert(&mut self, token: String, form: Form) {
        if self.order.len() >= FORM_LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.rows.remove(&oldest);
        }
        self.order.push_back(token.clone());
        self.rows.insert(token, form);
    }

    pub(crate) fn get(&self, token: &str) -> Option<&Form> {
        self.rows.get(token)
    }

    pub(crate) fn get_mut(&mut self, token: &str) -> Option<&mut Form> {
        self.rows.get_mut(token)
    }

    /// The form of a run and its token.
    pub(crate) fn of_run(&self, run: Uuid) -> Option<(&str, &Form)> {
        let token = self
            .order
            .iter()
            .rev()
            .find(|token| self.rows.get(*token).is_some_and(|form| form.run == run))?;
        Some((token, self.rows.get(token)?))
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.order.clear();
    }
}

/// A form as it was filled.
#[derive(Debug, Clone)]
pub(crate) struct Filled {
    pub(crate) action: String,
    pub(crate) comment: String,
}
