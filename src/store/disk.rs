//! A store in one file of redb.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
#[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
use std::sync::Mutex;
use std::sync::PoisonError;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, TableDefinition, TableError, WriteTransaction,
};

use super::error::StoreError;
use super::key_value::{Change, ConditionalWrite, Page, Store};
use super::table::Table;

/// What redb may keep of the file in memory, in bytes. The system keeps the rest of what is used.
const CACHE: usize = 8 << 20;

pub(super) struct RedbStore {
    path: PathBuf,
    /// `None` after an error: redb refuses everything after one, so the file is opened again.
    #[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
    database: Mutex<Option<Database>>,
}

impl RedbStore {
    /// Opens the file, or makes it. Every page is read and checked, after a crash or not: redb may
    /// panic on a file that somebody else has changed.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let database = open(path)?;
        #[expect(clippy::disallowed_types, reason = "see the field")]
        let database = Mutex::new(Some(database));
        Ok(Self { path: path.to_owned(), database })
    }

    /// Works on the file, which is opened again if the last work failed.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut place = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match place.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        let done = work(&database);
        if done.is_ok() {
            *place = Some(database);
        }
        done.map_err(|error| failed(&self.path, error))
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let refuse = |source| StoreError::Open { path: path.to_owned(), source };
    let damaged = |what: String| StoreError::Damaged { path: path.to_owned(), what };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = file.map_err(refuse)?;
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let backend = FileBackend::new(file)?;
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        builder.create_with_backend(backend)
    }));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) => {
            Err(StoreError::InUse(path.to_owned()))
        }
        Ok(Err(DatabaseError::Storage(StorageError::Io(source)))) => match source.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Err(damaged(source.to_string())),
            _ => Err(refuse(source)),
        },
        Ok(Err(DatabaseError::Storage(StorageError::Corrupted(what)))) if is_form(&what) => {
            Err(StoreError::OtherForm { path: path.to_owned(), what })
        }
        Ok(Err(error @ DatabaseError::UpgradeRequired(_))) => {
            Err(StoreError::OtherForm { path: path.to_owned(), what: error.to_string() })
        }
        Ok(Err(error @ DatabaseError::Storage(StorageError::Corrupted(_)))) => {
            Err(damaged(error.to_string()))
        }
        Ok(Err(error @ DatabaseError::RepairAborted)) => Err(damaged(error.to_string())),
        Ok(Err(error)) => Err(failed(path, error)),
        Err(_) => Err(damaged("reading it ended in a panic".to_owned())),
    }
}

/// Whether redb says that the file is whole and of a later format. It has no kind of its own for that.
fn is_form(what: &str) -> bool {
    what.contains("file format version")
}

fn failed(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed { path: path.to_owned(), what: error.to_string() }
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

type Rows<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The tables of a transaction. Each is opened once: that costs more than a row.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    open: BTreeMap<Table, Rows<'t>>,
}

impl<'t> Tables<'t> {
    fn new(transaction: &'t WriteTransaction) -> Self {
        Self { transaction, open: BTreeMap::new() }
    }

    fn rows(&mut self, table: Table) -> Result<&mut Rows<'t>, redb::Error> {
        Ok(match self.open.entry(table) {
            Entry::Occupied(rows) => rows.into_mut(),
            Entry::Vacant(place) => place.insert(self.transaction.open_table(definition(table))?),
        })
    }

    fn make(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        for change in changes {
            let rows = self.rows(change.table)?;
            match &change.value {
                Some(value) => rows.insert(&change.key[..], &value[..])?,
                None => rows.remove(&change.key[..])?,
            };
        }
        Ok(())
    }

    /// Makes the changes of a step if its guard holds, and tells whether it does.
    fn take(&mut self, step: &ConditionalWrite) -> Result<bool, redb::Error> {
        if let Some(guard) = &step.guard {
            let row = self.rows(guard.table)?.get(&guard.key[..])?;
            if row.as_ref().map(|row| row.value()) != guard.value.as_deref() {
                return Ok(false);
            }
        }
        self.make(&step.changes)?;
        Ok(true)
    }
}

impl Store for RedbStore {
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.with(|database| {
            let rows = match database.begin_read()?.open_table(definition(table)) {
                // Nothing has been written yet.
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                rows => rows?,
            };
            for row in rows.iter()? {
                let (key, value) = row?;
                each(key.value(), value.value());
            }
            Ok(())
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            Tables::new(&transaction).make(changes)?;
            transaction.commit()?;
            Ok(())
        })
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|database| match database.begin_read()?.open_table(definition(table)) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            rows => Ok(rows?.get(key)?.map(|value| value.value().to_vec())),
        })
    }

    fn apply(&self, steps: &[ConditionalWrite]) -> Result<Vec<bool>, StoreError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let mut tables = Tables::new(&transaction);
            let done = steps.iter().map(|step| tables.take(step)).collect::<Result<Vec<_>, _>>()?;
            drop(tables);
            if done.contains(&true) {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(done)
        })
    }

    fn page(&self, table: Table, from: Option<&[u8]>, count: usize) -> Result<Page, StoreError> {
        self.with(|database| {
            let rows = match database.begin_read()?.open_table(definition(table)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Page::default()),
                rows => rows?,
            };
            let from = from.map_or(Bound::Unbounded, Bound::Excluded);
            let mut found = Vec::with_capacity(count);
            for row in rows.range::<&[u8]>((from, Bound::Unbounded))?.take(count) {
                let (key, value) = row?;
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(Page::after(found, count))
        })
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.with(|database| match database.begin_read()?.open_table(definition(table)) {
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            rows => Ok(rows?.len()?),
        })
    }

    fn kind(&self) -> &'static str {
        "redb"
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}
