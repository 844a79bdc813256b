//! What is kept: where, how much of it, and what happens when it cannot be.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::units::{age, whole};
use crate::model::value_schema;
use crate::model::{OnStoreFailure, Token};

/// Persistent storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Store {
    /// The folder of the local store.
    pub path: Option<PathBuf>,
    /// The URL of a Redis.
    pub redis: Option<Token>,
}

/// Stored conversations of OpenAI and Anthropic clients. No text is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Conversations {
    /// Most conversations; the least recently used are forgotten.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000_000>")]
    #[schemars(schema_with = "value_schema::whole::<1, 100_000_000>")]
    pub max_entries: usize,
    /// Time since their last turn after which they are forgotten.
    #[serde(with = "age")]
    #[schemars(schema_with = "value_schema::age")]
    pub max_age: Duration,
    /// While the store fails: `continue` starts new conversations, seeded with what the client
    /// sends, and stores their turns later; `refuse` returns 503.
    pub on_store_failure: OnStoreFailure,
}

impl Default for Conversations {
    fn default() -> Self {
        Self {
            max_entries: 1_000_000,
            max_age: Duration::from_secs(30 * 24 * 3600),
            on_store_failure: OnStoreFailure::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::Conversations;
    use crate::config::{Config, Environment, parse};
    use crate::model::OnStoreFailure;

    const APPS: &str =
        "apps: { a: { user_tokens: [t], instances: [{ name: one, host: dify, token: key }] } }";

    fn read(text: &str) -> Result<Config, String> {
        let parsed = parse("x", &format!("{text}\n{APPS}"), &Environment::default());
        parsed.map(|loaded| loaded.config).map_err(|findings| findings.to_string())
    }

    #[test]
    fn redis_is_named_alone_or_beside_the_folder() {
        for (text, path) in [
            ("store: \"redis://:geheim@host:6379/2\"", None),
            ("store: redis://:geheim@host:6379/2", None),
            ("store: { path: /x, redis: \"redis://:geheim@host:6379/2\" }", Some("/x")),
            ("store:\n  redis: redis://:geheim@host:6379/2", None),
        ] {
            let store = read(text).unwrap().store;
            let url = store.redis.unwrap();
            assert_eq!(url.expose(), "redis://:geheim@host:6379/2", "{text}");
            assert_eq!(store.path.as_deref(), path.map(Path::new));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "redis://:geheim@host\n").unwrap();
        let config = read(&format!("store: {{ redis: \"file:{}\" }}", file.display())).unwrap();
        assert_eq!(config.store.redis.unwrap().expose(), "redis://:geheim@host");
        assert_eq!(config.watched_files, [file]);
    }

    #[test]
    fn what_is_no_url_of_a_redis_is_refused_and_never_shown() {
        for text in [
            "store: geheim",
            "store: rediss://:geheim@host",
            "store: { redis: http://geheim@host }",
            "store: { redis: \"redis://:geheim@host:99999\" }",
            "store:\n  redis: unix:///geheim",
        ] {
            let findings = read(text).unwrap_err();
            assert!(findings.contains("not the URL of a Redis"), "{findings}");
            assert!(!findings.contains("geheim"), "{findings}");
        }
        let findings = read("store: { path: \"redis://u:geheim@host/0\" }").unwrap_err();
        assert!(findings.contains("is a folder, and this is a URL"), "{findings}");
        assert!(!findings.contains("geheim"), "{findings}");
        let findings = read("store: [redis]").unwrap_err();
        assert!(findings.contains("`path` and `redis`"), "{findings}");
    }

    #[test]
    fn what_is_kept_of_conversations_is_bounded() {
        assert_eq!(read("").unwrap().conversations, Conversations::default());
        let text = "conversations: { max_entries: 5, max_age: 2d, on_store_failure: refuse }";
        let expected = Conversations {
            max_entries: 5,
            max_age: Duration::from_secs(172_800),
            on_store_failure: OnStoreFailure::Refuse,
        };
        assert_eq!(read(text).unwrap().conversations, expected);
        assert!(read("conversations: { max_entries: 0 }").is_err());
    }
}
