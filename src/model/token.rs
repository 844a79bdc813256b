//! A secret that cannot be printed.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A user token, an app key of Dify or the admin token.
///
/// `Debug`, `Display` and `Serialize` give only its [fingerprint](Token::fingerprint); the secret
/// itself leaves through [`Token::expose`] alone, so every place that uses it can be searched for.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Wraps a secret as the operator wrote it.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret. For building a request, comparing and hashing; never for text a person reads.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this secret, in a time that does not depend on where they differ.
    /// The length is not hidden.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }

    /// The first 8 hexadecimal digits of the secret's SHA-256: enough to tell two tokens apart in
    /// a log, useless for getting in.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        let digits = digest.iter().take(4).flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.fingerprint())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {}", self.fingerprint())
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn no_way_of_printing_shows_the_secret() {
        let token = Token::new("app-very-secret");
        let json = serde_json::to_string(&token).unwrap();
        for text in [format!("{token}"), format!("{token:?}"), json] {
            assert!(!text.contains("very-secret"), "{text}");
            assert!(text.contains(&token.fingerprint()), "{text}");
        }
    }

    #[test]
    fn matches_only_the_same_bytes() {
        let token = Token::new("app-one");
        assert!(token.matches(b"app-one"));
        for other in [&b"app-two"[..], b"app-on", b"app-one ", b""] {
            assert!(!token.matches(other));
        }
    }
}
