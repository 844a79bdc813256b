//! Which instance owns an id of Dify.
//!
//! Dify's ids are known to the instance that made them and to no other. Whoever sees one in an
//! answer tells it here, and whoever has a request with one asks here before the user is hashed.
//!
//! Answers come from a table in memory, without a lock. What outlives a run is also written to the
//! store, behind the request and within a tenth of a second; after a restart it is known again. A
//! row that is lost on the way (a full queue, a full disk, a race) costs one question to the other
//! instances, so nothing here ever makes a request wait.
//!
//! Beside the owners, in memory alone: which user an id is known for, what nobody has, and whom an
//! instance has met.
//!
//! Retention: `owners.max_entries` rows, the ones used longest ago give way, and those of an app first that
//! has more than half of them; `owners.max_age` since
//! the last use; 32,768 names of instances in the life of a process; the sets of what was noted not
//! long ago have their own.

mod owner_names;
mod owners;
mod scope;
mod table;
mod writer;

#[cfg(test)]
mod tests;

pub use self::owners::{Durability, Owners, OwnersStats};
pub use self::scope::{RecentSet, Scope};
pub use self::table::AppTag;
pub use crate::store::{Retention, now_s};
