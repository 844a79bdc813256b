//! The trait of all stores, and what it takes and gives.

use std::path::Path;

use super::error::StoreError;
use super::table::Table;

/// One row, set or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which table.
    pub table: Table,
    /// The row's key.
    pub key: Vec<u8>,
    /// The row's value; `None` removes the row.
    pub value: Option<Vec<u8>>,
}

/// Changes that are made together, if the guard holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConditionalWrite {
    /// What must be so; none lets the changes be made in any case.
    pub guard: Option<Guard>,
    /// What is changed then.
    pub changes: Vec<Change>,
}

/// What a row must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Which table.
    pub table: Table,
    /// The row's key.
    pub key: Vec<u8>,
    /// The row's value; `None` says that there is no such row.
    pub value: Option<Vec<u8>>,
}

/// Some rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the next page begins, for [`Store::page`]; `None` after the last one.
    pub next: Option<Vec<u8>>,
}

impl Page {
    /// A page that ends with its last key, and is the last one if it is not full.
    pub(super) fn after(rows: Vec<(Vec<u8>, Vec<u8>)>, count: usize) -> Self {
        let next = rows.last().filter(|_| rows.len() >= count).map(|(key, _)| key.clone());
        Self { rows, next }
    }
}

/// Durable tables.
pub trait Store: Send + Sync {
    /// Gives every row of a table to `each`; not in Redis in the order of keys.
    ///
    /// # Errors
    /// The store cannot be read; rows may have been given already.
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// Makes all changes, or none. When it returns, they survive even a `kill -9`.
    ///
    /// # Errors
    /// Nothing was changed.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// How many rows a table has.
    ///
    /// # Errors
    /// The store cannot be read.
    fn count(&self, table: Table) -> Result<u64, StoreError>;

    /// One row's value.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Takes the steps one after the other, in one commit, and tells which guards held. When it
    /// returns, all changes are as durable as those of [`Store::commit`].
    ///
    /// # Errors
    /// Nothing was changed; in Redis, if only the answer was lost, everything may have been.
    fn apply(&self, steps: &[ConditionalWrite]) -> Result<Vec<bool>, StoreError>;

    /// About `count` rows from a place on; `None` is the beginning. Rows that others set or remove
    /// between two pages may be missing or come twice.
    ///
    /// # Errors
    /// The store cannot be read.
    fn page(&self, table: Table, from: Option<&[u8]>, count: usize) -> Result<Page, StoreError>;

    /// `redb`, `redis` or `memory`.
    fn kind(&self) -> &'static str;

    /// The file; `None` if there is none.
    fn path(&self) -> Option<&Path>;

    /// Where the rows are, for people: a file or an address. `None` if nothing outlives the process.
    fn place(&self) -> Option<String> {
        self.path().map(|path| path.display().to_string())
    }

    /// Sets or removes one row if it is as expected, and tells whether it was.
    ///
    /// # Errors
    /// As of [`Store::apply`].
    fn swap(&self, change: Change, expected: Option<Vec<u8>>) -> Result<bool, StoreError> {
        let guard = Guard { table: change.table, key: change.key.clone(), value: expected };
        let done = self.apply(&[ConditionalWrite { guard: Some(guard), changes: vec![change] }])?;
        Ok(done == [true])
    }
}
