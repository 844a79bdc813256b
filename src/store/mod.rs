//! What must survive the process: durable key-value tables behind one trait.
//!
//! Two implementations: one file of [redb](https://docs.rs/redb), and memory for where no folder
//! can be written. Nothing on the path of a request calls them: each user has a thread of its own
//! that groups commits.
//!
//! Limits: a table holds what fits on the disk; its users bound their rows. redb locks its file
//! even for reading, so a running gateway is asked through its admin listener, never beside it.
//!
//! Deliberately absent: reads of single rows (users load a table at the start and keep it), and
//! Redis, which comes with what has to be shared.

mod disk;
mod memory;

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::disk::Disk;
use self::memory::Memory;

/// The name of the file in its folder.
const FILE: &str = "difygate.redb";

/// A table of bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Dify's ids to the instances that own them.
    Owners,
}

impl Table {
    /// Its name in the file; the number is that of the rows' form.
    fn name(self) -> &'static str {
        match self {
            Self::Owners => "owners-1",
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

/// Durable tables.
pub trait Store: Send + Sync {
    /// Gives every row of a table to `each`, in the order of keys.
    ///
    /// # Errors
    /// The file cannot be read; rows may have been given already.
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// Makes all changes, or none. When it returns, they survive even a `kill -9`.
    ///
    /// # Errors
    /// Nothing was changed.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// How many rows a table has.
    ///
    /// # Errors
    /// The file cannot be read.
    fn count(&self, table: Table) -> Result<u64, StoreError>;

    /// `redb` or `memory`.
    fn kind(&self) -> &'static str;

    /// The file; `None` if there is none, and so nothing outlives the process.
    fn path(&self) -> Option<&Path>;
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
    /// Reading or writing failed.
    #[error("{} cannot be used: {what}; is the disk full?", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What redb says.
        what: String,
    },
}

/// A store in memory, of which nothing outlives the process.
pub fn in_memory() -> Arc<dyn Store> {
    Arc::new(Memory::default())
}

/// Opens the store in a folder, which is made if it is missing. If that fails the store is in
/// memory, and the text says why and what to do. A damaged file is renamed, never deleted.
pub fn open(folder: &Path) -> (Arc<dyn Store>, Option<String>) {
    match on_disk(folder) {
        Ok((store, warning)) => (store, warning),
        Err(error) => {
            let lost = "until then who owns which id is forgotten at each restart and found anew";
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
                "{path} was damaged ({what}) and is now {aside}; a new one was begun, and who owns \
                 which id is found anew"
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
