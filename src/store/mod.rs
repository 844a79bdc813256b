//! What must survive the process: durable key-value tables behind one trait.
//!
//! Three implementations: one file of [redb](https://docs.rs/redb), memory for where no folder can
//! be written, and a Redis that several gateways share. Nothing on the path of a request calls them:
//! each user has a thread of its own that groups commits.
//!
//! Limits: a table holds what fits on the disk; its users bound their rows. redb locks its file
//! even for reading, so a running gateway is asked through its admin listener, never beside it.
//! Redis is as durable as it is configured to be, and rolls nothing back.
//!
//! Deliberately absent: the owners of ids in Redis. They are read once, kept in memory and found
//! anew where they are missing, so each gateway has its own, in a local store.

mod disk;
mod memory;
mod redis;

#[cfg(test)]
#[path = "../../tests/it/redis_server.rs"]
pub(crate) mod redis_server;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::disk::Disk;
use self::memory::Memory;
use self::redis::Redis;
use crate::model::Token;

/// The name of the file in its folder.
const FILE: &str = "difygate.redb";

/// A table of bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Dify's ids to the instances that own them.
    Owners,
    /// Dify's conversations as the doors know them.
    Conversations,
    /// Digests of transcripts to conversations.
    Turns,
    /// Chats of clients to their newest conversations.
    Chats,
    /// Dify's messages to conversations.
    Answers,
    /// Chats that another gateway knew, to its conversations.
    Imported,
    /// Secrets that were made once.
    Keys,
}

impl Table {
    /// All tables, in the order of their declaration.
    const ALL: [Self; 7] = [
        Self::Owners,
        Self::Conversations,
        Self::Turns,
        Self::Chats,
        Self::Answers,
        Self::Imported,
        Self::Keys,
    ];

    /// Its name in the file; the number is that of the rows' form.
    fn name(self) -> &'static str {
        match self {
            Self::Owners => "owners-1",
            Self::Conversations => "conversations-1",
            Self::Turns => "turns-1",
            Self::Chats => "chats-1",
            Self::Answers => "answers-1",
            Self::Imported => "imported-1",
            Self::Keys => "keys-1",
        }
    }
}

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
pub struct Step {
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
    fn after(rows: Vec<(Vec<u8>, Vec<u8>)>, count: usize) -> Self {
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
    fn apply(&self, steps: &[Step]) -> Result<Vec<bool>, StoreError>;

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
        let done = self.apply(&[Step { guard: Some(guard), changes: vec![change] }])?;
        Ok(done == [true])
    }
}

/// Why a store cannot be used. The messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("the folder {} cannot be made: {source}; make it, or name another one in `store.path`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be opened.
    #[error("{} cannot be opened: {source}; make its folder writable for the gateway's user, or name another one in `store.path`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the file.
    #[error("{} is in use by another process; end that one, or name another folder in `store.path`", .0.display())]
    InUse(PathBuf),
    /// The file is none of ours, or damaged.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What redb says.
        what: String,
    },
    /// The file has a form that this release does not know.
    #[error("{} was written by another release of difygate ({what}); it is left as it is: start that release again, or name another folder in `store.path`", path.display())]
    OtherForm {
        /// The file.
        path: PathBuf,
        /// What redb says.
        what: String,
    },
    /// Reading or writing failed.
    #[error("{} cannot be used: {what}; is the disk full?", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What redb says.
        what: String,
    },
    /// Redis does not answer, or not as it should.
    #[error("Redis at {place} cannot be used: {what}; is it running, and is `store.redis` right?")]
    Redis {
        /// Its address, without a password.
        place: String,
        /// What went wrong.
        what: String,
    },
}

/// A store in memory, of which nothing outlives the process.
pub fn in_memory() -> Arc<dyn Store> {
    Arc::new(Memory::default())
}

/// A store in Redis. `url` is as in `redis://user:password@host:6379/0`; it is connected to when it
/// is used first, and again after a failure.
///
/// # Errors
/// This is no such URL.
pub fn in_redis(url: &Token) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Redis::new(url)?))
}

/// Opens the store in a folder, which is made if it is missing. If that fails the store is in
/// memory, and the text says why and what to do. A damaged file is renamed, never deleted.
pub fn open(folder: &Path) -> (Arc<dyn Store>, Option<String>) {
    match on_disk(folder) {
        Ok((store, warning)) => (store, warning),
        Err(error) => {
            let lost = "until then each restart forgets who owns which id, which is found anew, and the \
                conversations of AI clients, which begin anew";
            (in_memory(), Some(format!("{error}; {lost}")))
        }
    }
}

fn on_disk(folder: &Path) -> Result<(Arc<dyn Store>, Option<String>), StoreError> {
    // Only what is made here gets this mode; a folder that is there stays as it is.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
    let path = folder.join(FILE);
    match Disk::open(&path) {
        Ok(store) => Ok((Arc::new(store), None)),
        Err(StoreError::Damaged { what, .. }) => {
            let aside = free_name(&path);
            fs::rename(&path, &aside)
                .map_err(|source| StoreError::Open { path: path.clone(), source })?;
            let store = Disk::open(&path)?;
            let (path, aside) = (path.display(), aside.display());
            let warning = format!(
                "{path} was damaged ({what}) and is now {aside}; a new one was begun: who owns which \
                 id is found anew, and conversations of AI clients begin anew"
            );
            Ok((Arc::new(store), Some(warning)))
        }
        Err(error) => Err(error),
    }
}

/// `difygate.redb.damaged-1`, or with the first number that is free.
fn free_name(path: &Path) -> PathBuf {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        PathBuf::from(name)
    };
    (1..1000).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(1000))
}
