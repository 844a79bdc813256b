//! The keys of clients: who asks, and which apps that opens.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::model::Token;

/// What is known of who sends a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the configuration; of an app's user token, its fingerprint.
    pub name: Arc<str>,
    /// The places of the apps that it opens, in the order of the configuration.
    pub apps: SmallVec<[usize; 2]>,
    /// Whether it may see and clean up the conversations of all keys.
    pub is_admin: bool,
    /// Whether headers that name the end user are believed.
    pub trusted_proxy: bool,
    /// The end user of requests that name none.
    pub user: Option<String>,
}

/// The table of keys.
///
/// A key is found by a hash with a key of this process, so the time of a lookup says nothing about
/// the secrets in the table, and does not grow with their number. The secret itself is then compared
/// in constant time.
#[derive(Debug, Default)]
pub struct TokenTable {
    hasher: RandomState,
    entries: HashTable<Entry>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    secret: Token,
    key: Arc<Key>,
}

impl TokenTable {
    /// The table of secrets that differ, and what each stands for.
    pub fn new(keys: impl IntoIterator<Item = (Token, Key)>) -> Self {
        let mut table = Self::default();
        for (secret, key) in keys {
            let hash = table.hasher.hash_one(secret.expose().as_bytes());
            let entry = Entry { hash, secret, key: Arc::new(key) };
            table.entries.insert_unique(hash, entry, |entry| entry.hash);
        }
        table
    }

    /// What is known of who sends `candidate`, or none.
    pub fn key(&self, candidate: &[u8]) -> Option<&Arc<Key>> {
        let hash = self.hasher.hash_one(candidate);
        let is_it = |entry: &Entry| entry.hash == hash && entry.secret.matches(candidate);
        self.entries.find(hash, is_it).map(|entry| &entry.key)
    }

    /// The apps that `candidate` opens, in the order of the configuration, or none.
    pub fn apps(&self, candidate: &[u8]) -> Option<&[usize]> {
        self.key(candidate).map(|key| &key.apps[..])
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, TokenTable};
    use crate::model::Token;

    #[test]
    fn each_secret_opens_its_apps_and_nothing_else_does() {
        let key = |name: &str, apps: &[usize]| Key {
            name: name.into(),
            apps: apps.into(),
            is_admin: false,
            trusted_proxy: false,
            user: None,
        };
        let keys = [("a", &[0][..]), ("b", &[0, 1]), ("c", &[2])];
        let keys = keys.map(|(name, apps)| (Token::new(name), key(name, apps)));
        let table = TokenTable::new(keys);
        assert_eq!(table.apps(b"a"), Some(&[0][..]));
        assert_eq!(table.apps(b"b"), Some(&[0, 1][..]));
        assert_eq!(table.key(b"c").map(|key| &**key), Some(&key("c", &[2])));
        for unknown in [&b""[..], b"A", b"ab", b"b "] {
            assert_eq!(table.key(unknown), None);
        }
    }
}
