//! Why a store cannot be used.

use std::io;
use std::path::PathBuf;

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
