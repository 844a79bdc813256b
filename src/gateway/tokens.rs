//! Which apps a user token opens.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::model::Token;

/// The table of user tokens.
///
/// A token is found by a hash with a key of this process, so the time of a lookup says nothing about
/// the tokens in the table, and does not grow with their number. The secret itself is then compared
/// in constant time.
#[derive(Debug, Default)]
pub struct TokenTable {
    keys: RandomState,
    entries: HashMap<u64, Vec<(Token, Vec<usize>)>>,
}

impl TokenTable {
    /// The table of `(token, app)`, apps given by their index. A token may open several.
    pub fn new(tokens: impl IntoIterator<Item = (Token, usize)>) -> Self {
        let mut table = Self::default();
        for (token, app) in tokens {
            let key = table.keys.hash_one(token.expose().as_bytes());
            let entry = table.entries.entry(key).or_default();
            match entry.iter_mut().find(|(known, _)| *known == token) {
                Some((_, apps)) => apps.push(app),
                None => entry.push((token, vec![app])),
            }
        }
        table
    }

    /// The apps that `candidate` opens, in the order of the configuration, or none.
    pub fn apps(&self, candidate: &[u8]) -> Option<&[usize]> {
        let entry = self.entries.get(&self.keys.hash_one(candidate))?;
        let (_, apps) = entry.iter().find(|(token, _)| token.matches(candidate))?;
        Some(apps)
    }
}

#[cfg(test)]
mod tests {
    use super::TokenTable;
    use crate::model::Token;

    #[test]
    fn each_token_opens_its_apps_and_nothing_else_does() {
        let tokens = [("a", 0), ("b", 0), ("b", 1), ("c", 2)];
        let table = TokenTable::new(tokens.map(|(token, app)| (Token::new(token), app)));
        assert_eq!(table.apps(b"a"), Some(&[0][..]));
        assert_eq!(table.apps(b"b"), Some(&[0, 1][..]));
        assert_eq!(table.apps(b"c"), Some(&[2][..]));
        for unknown in [&b""[..], b"A", b"ab", b"b "] {
            assert_eq!(table.apps(unknown), None);
        }
    }
}
