//! A store that ends with the process.

use std::collections::BTreeMap;
use std::path::Path;
#[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
use std::sync::Mutex;
use std::sync::PoisonError;

use super::{Change, Store, StoreError, Table};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
pub(super) struct Memory {
    #[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
    tables: Mutex<BTreeMap<Table, Rows>>,
}

impl Memory {
    /// A panic elsewhere leaves whole rows, so the tables stay good.
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Table, Rows>) -> T) -> T {
        work(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for Memory {
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.with(|tables| {
            tables.get(&table).into_iter().flatten().for_each(|(key, value)| each(key, value));
        });
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.with(|tables| {
            for change in changes {
                let rows = tables.entry(change.table).or_default();
                match &change.value {
                    Some(value) => rows.insert(change.key.clone(), value.clone()),
                    None => rows.remove(&change.key),
                };
            }
        });
        Ok(())
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
