//! A store that ends with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
#[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
use std::sync::Mutex;
use std::sync::PoisonError;

use super::error::StoreError;
use super::key_value::{Change, ConditionalWrite, Page, Store};
use super::table::Table;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
pub(super) struct MemoryStore {
    #[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
    tables: Mutex<BTreeMap<Table, Rows>>,
}

impl MemoryStore {
    /// A panic elsewhere leaves whole rows, so the tables stay good.
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Table, Rows>) -> T) -> T {
        work(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn make(tables: &mut BTreeMap<Table, Rows>, changes: &[Change]) {
    for change in changes {
        let rows = tables.entry(change.table).or_default();
        match &change.value {
            Some(value) => rows.insert(change.key.clone(), value.clone()),
            None => rows.remove(&change.key),
        };
    }
}

impl Store for MemoryStore {
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.with(|tables| {
            tables.get(&table).into_iter().flatten().for_each(|(key, value)| each(key, value));
        });
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.with(|tables| make(tables, changes));
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|tables| tables.get(&table)?.get(key).cloned()))
    }

    fn apply(&self, steps: &[ConditionalWrite]) -> Result<Vec<bool>, StoreError> {
        Ok(self.with(|tables| {
            let mut take = |step: &ConditionalWrite| {
                let holds = step.guard.as_ref().is_none_or(|guard| {
                    let row = tables.get(&guard.table).and_then(|rows| rows.get(&guard.key));
                    row == guard.value.as_ref()
                });
                if holds {
                    make(tables, &step.changes);
                }
                holds
            };
            steps.iter().map(&mut take).collect()
        }))
    }

    fn page(&self, table: Table, from: Option<&[u8]>, count: usize) -> Result<Page, StoreError> {
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let rows: Vec<_> = self.with(|tables| {
            let rows = tables.get(&table).into_iter();
            let rows = rows.flat_map(|rows| rows.range::<[u8], _>((from, Bound::Unbounded)));
            rows.take(count).map(|(key, value)| (key.clone(), value.clone())).collect()
        });
        Ok(Page::after(rows, count))
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self.with(|tables| tables.get(&table).map_or(0, |rows| rows.len() as u64)))
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}
