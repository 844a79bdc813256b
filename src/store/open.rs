//! Opens a store.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::RedbStore;
use super::error::StoreError;
use super::key_value::Store;
use super::memory::MemoryStore;
use super::redis::RedisStore;
use crate::model::Token;

/// The name of the file in its folder.
pub(super) const FILE: &str = "difygate.redb";

/// A store in memory, of which nothing outlives the process.
pub fn in_memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

/// A store in Redis. `url` is as in `redis://user:password@host:6379/0`; it is connected to when it
/// is used first, and again after a failure.
///
/// # Errors
/// This is no such URL.
pub fn in_redis(url: &Token) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(RedisStore::new(url)?))
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
    match RedbStore::open(&path) {
        Ok(store) => Ok((Arc::new(store), None)),
        Err(StoreError::Damaged { what, .. }) => {
            let aside = free_name(&path);
            fs::rename(&path, &aside)
                .map_err(|source| StoreError::Open { path: path.clone(), source })?;
            let store = RedbStore::open(&path)?;
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
