//! What is known of callers beside owners: which ids they have used, and what was looked for in vain.

use std::time::Duration;

use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128_with_seed};

use super::table::{AppTag, Row, Table};

/// Who uses an id: a user of an app, as one number. Dify's users are per app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    number: u64,
    app: AppTag,
}

impl Scope {
    /// The scope of a user of an app.
    pub fn new(app: &str, user: &str) -> Self {
        let app = xxh3_64(app.as_bytes());
        Self { number: xxh3_64_with_seed(user.as_bytes(), app), app: AppTag::new(app) }
    }

    /// The app, as far as apps are told apart in what is remembered.
    pub fn app(self) -> AppTag {
        self.app
    }

    /// An id in the hands of this user: another one in anybody else's.
    pub fn of(self, id: Uuid) -> Uuid {
        self.of_text(id.as_bytes())
    }

    /// The same of anything that has a name.
    pub fn of_text(self, text: &[u8]) -> Uuid {
        Uuid::from_u128(xxh3_128_with_seed(text, self.number))
    }

    /// The scope as a number that is never 0.
    pub fn number(self) -> u64 {
        self.number.max(1)
    }
}

/// What was noted not long ago: a set in a fixed piece of memory, without locks, as the table of
/// owners. What was noted longest ago gives way. In memory alone.
#[derive(Debug)]
pub struct RecentSet {
    table: Table,
    max_age_s: u32,
}

impl RecentSet {
    /// A set of at least `entries`, each of which is in it for `max_age`. An entry takes 16 bytes.
    pub fn new(entries: usize, max_age: Duration) -> Self {
        let max_age_s = u32::try_from(max_age.as_secs()).unwrap_or(u32::MAX);
        Self { table: Table::new(entries), max_age_s }
    }

    /// Whether it is in the set. `now_s` as [`now_s`](super::now_s) gives it.
    pub fn has(&self, key: Uuid, now_s: u32) -> bool {
        self.table.get(key).is_some_and(|row| now_s.saturating_sub(row.at_s) < self.max_age_s)
    }

    /// Puts it into the set, or keeps it there for another term.
    pub fn note(&self, key: Uuid, app: AppTag, now_s: u32) {
        self.table.insert(key, Row { name: 0, lasting: false, at_s: now_s, app });
    }

    /// Takes it out of the set.
    pub fn forget(&self, key: Uuid) {
        self.table.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::{AppTag, RecentSet, Scope};

    #[test]
    fn what_is_one_users_is_nobody_elses() {
        let id = Uuid::from_u128(7);
        let alice = Scope::new("shop", "alice").of(id);
        assert_eq!(alice, Scope::new("shop", "alice").of(id));
        for (app, user) in
            [("shop", "bob"), ("flow", "alice"), ("shopa", "lice"), ("", "shopalice")]
        {
            assert_ne!(alice, Scope::new(app, user).of(id), "{app} {user}");
        }
    }

    #[test]
    fn what_was_noted_is_known_for_its_term() {
        let (recent, id) = (RecentSet::new(8, Duration::from_secs(60)), Uuid::from_u128(7));
        assert!(!recent.has(id, 1000));
        recent.note(id, AppTag::default(), 1000);
        assert!(recent.has(id, 1059) && !recent.has(id, 1060));
        // A clock that went back.
        assert!(recent.has(id, 900));
        recent.forget(id);
        assert!(!recent.has(id, 1000));
    }

    #[test]
    fn the_set_is_bounded() {
        let recent = RecentSet::new(64, Duration::from_secs(60));
        let app = AppTag::default();
        (0..10_000).for_each(|n| recent.note(Uuid::from_u128(n), app, 1000));
        let known = (0..10_000).filter(|n| recent.has(Uuid::from_u128(*n), 1000)).count();
        assert!((1..=64).contains(&known), "{known}");
    }
}
