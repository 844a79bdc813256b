//! Tables that forget their oldest rows.

use std::collections::{HashMap, VecDeque};
use uuid::Uuid;

/// Rows kept of each kind.
pub(super) const LIMIT: usize = 100_000;
/// Bytes of text and content kept of each kind.
const WEIGHT_LIMIT: usize = 64 * 1024 * 1024;

/// A table: rows by id, the oldest ones dropped beyond the limits.
pub(crate) struct Table<T> {
    rows: HashMap<Uuid, T>,
    /// Each row's id and weight, oldest first.
    order: VecDeque<(Uuid, usize)>,
    weight: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: HashMap::new(), order: VecDeque::new(), weight: 0 }
    }
}

impl<T> Table<T> {
    /// Adds a row that holds about so many bytes.
    pub(crate) fn insert(&mut self, id: Uuid, row: T, weight: usize) {
        while self.order.len() >= LIMIT || self.weight + weight > WEIGHT_LIMIT {
            let Some((oldest, weight)) = self.order.pop_front() else { break };
            self.rows.remove(&oldest);
            self.weight -= weight;
        }
        self.order.push_back((id, weight));
        self.weight += weight;
        self.rows.insert(id, row);
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&T> {
        self.rows.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: Uuid) -> Option<&mut T> {
        self.rows.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Option<T> {
        self.rows.remove(&id)
    }

    /// All rows, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Uuid, &T)> {
        self.order.iter().filter_map(|(id, _)| Some((*id, self.rows.get(id)?)))
    }
}
