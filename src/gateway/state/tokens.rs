//! The keys of clients: who asks, and which apps that opens.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use crate::affinity::Scope;
use crate::model::Token;

/// What is known of who sends a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the configuration; of an app's user token, its fingerprint.
    pub name: Arc<str>,
    /// The places of the apps that it opens, in the order of the configuration.
    pub apps: SmallVec<[usize; 2]>,
    /// Whether it is one of an app's `user_tokens`, which speak for any user, and not one of `keys`.
    pub is_user_token: bool,
    /// Whether it may see and clean up the conversations of all keys.
    pub is_admin: bool,
    /// Whether it may name any end user on Dify's own paths, and list and change what is not its own.
    pub impersonates: bool,
    /// Whether headers that name the end user are believed.
    pub trusted_proxy: bool,
    /// The end user of requests that name none.
    pub user: Option<String>,
}

impl Key {
    /// Whether requests with it to Dify's own paths may name any end user.
    pub(crate) fn names_anybody(&self) -> bool {
        self.is_user_token || self.impersonates
    }

    /// The scope of what its answers in an app have named, if it speaks for its own users alone. No
    /// user's name begins so, nor does it stand in the same table.
    pub(crate) fn id_scope(&self, app: &str) -> Option<Scope> {
        (!self.names_anybody()).then(|| Scope::new(app, &format!("\0key {}", self.name)))
    }
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

/// What every request needs of its key: of tens of thousands each is far from the processor, so that
/// is one line of its cache.
#[repr(align(64))]
struct Entry {
    secret: SmallVec<[u8; Entry::USUAL_BYTES]>,
    /// The place of the one app that it opens, or [`NOT_ONE`].
    app: usize,
    /// What is known of who sends it.
    key: Arc<Key>,
}

/// See [`Entry::app`].
const NOT_ONE: usize = usize::MAX;

impl Entry {
    /// Of a secret, and some room. A longer one stands elsewhere.
    const USUAL_BYTES: usize = 40;

    fn new(secret: &Token, key: Key) -> Self {
        let app = match key.apps[..] {
            [app] => app,
            _ => NOT_ONE,
        };
        Self { secret: secret.expose().as_bytes().into(), app, key: Arc::new(key) }
    }

    /// In a time that does not depend on where they differ. The length is not hidden.
    fn is_of(&self, candidate: &[u8]) -> bool {
        self.secret.ct_eq(candidate).into()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("app", &self.app).finish_non_exhaustive()
    }
}

impl TokenTable {
    /// The table of secrets that differ, and what each stands for.
    pub fn new(keys: impl IntoIterator<Item = (Token, Key)>) -> Self {
        let keys = keys.into_iter();
        let mut table = Self::default();
        table.entries.reserve(keys.size_hint().0, |_| 0);
        for (secret, key) in keys {
            let Self { hasher, entries } = &mut table;
            let hash = |entry: &Entry| hasher.hash_one(&entry.secret[..]);
            let entry = Entry::new(&secret, key);
            entries.insert_unique(hash(&entry), entry, hash);
        }
        table
    }

    /// What is known of who sends `candidate`, or none.
    pub fn key(&self, candidate: &[u8]) -> Option<&Arc<Key>> {
        Some(&self.entry(candidate)?.key)
    }

    /// The apps that `candidate` opens, in the order of the configuration, or none.
    pub fn apps(&self, candidate: &[u8]) -> Option<&[usize]> {
        Some(self.find(candidate)?.0)
    }

    /// The same, with what is known of who sends it.
    pub fn find(&self, candidate: &[u8]) -> Option<(&[usize], &Arc<Key>)> {
        let entry = self.entry(candidate)?;
        let apps = match &entry.app {
            &NOT_ONE => &entry.key.apps[..],
            app => std::slice::from_ref(app),
        };
        Some((apps, &entry.key))
    }

    fn entry(&self, candidate: &[u8]) -> Option<&Entry> {
        let hash = self.hasher.hash_one(candidate);
        self.entries.find(hash, |entry| entry.is_of(candidate))
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Key, TokenTable};
    use crate::model::Token;

    #[test]
    fn each_secret_opens_its_apps_and_nothing_else_does() {
        let key = |name: &str, apps: &[usize]| Key {
            name: name.into(),
            apps: apps.into(),
            is_user_token: true,
            is_admin: false,
            impersonates: false,
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
    #[test]
    fn what_a_request_needs_is_in_one_line_and_not_shown() {
        assert_eq!(size_of::<Entry>(), 64);
        let key = Key {
            name: "k".into(),
            apps: [7][..].into(),
            is_user_token: true,
            is_admin: false,
            impersonates: false,
            trusted_proxy: false,
            user: None,
        };
        let secret = format!("app-{}", "x".repeat(24));
        let table = TokenTable::new([(Token::new(secret.as_str()), key)]);
        assert_eq!(table.apps(secret.as_bytes()), Some(&[7][..]));
        assert!(table.entries.iter().all(|entry| !entry.secret.spilled()));
        assert!(!format!("{table:?}").contains("xxx"), "{table:?}");
    }
}
