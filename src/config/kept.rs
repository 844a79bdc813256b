//! What is kept: where, how much of it, and what happens when it cannot be.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::IntoConnectionInfo;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::notes::{Draft, Notes};
use super::scalar::{age, whole};
use super::schema;
use super::written::Written;
use super::yaml::{Places, Step};
use crate::model::Token;

/// Where what must survive a restart is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Store {
    /// The folder of the local store.
    pub path: Option<PathBuf>,
    /// The URL of a Redis.
    pub redis: Option<Token>,
}

/// Where what must survive a restart is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename = "Store")]
pub(super) struct WrittenStore {
    /// The folder, which is made if it is missing; a relative one starts at the working directory.
    /// Absent: the first of `$STATE_DIRECTORY`, which systemd sets, else `difygate-data` beside the
    /// configuration. If it cannot be written, all is kept in memory, and the status says so.
    path: Option<PathBuf>,
    /// A Redis for the conversations of OpenAI and Anthropic clients, which several gateways then
    /// share: `redis://user:password@host:6379/0`, or `file:` and a path. Without TLS. As durable as
    /// that Redis: with `appendfsync always` nothing is lost. Owners of ids stay in the folder.
    #[schemars(schema_with = "schema::secret")]
    redis: Option<Token>,
}

/// What is remembered of conversations with OpenAI and Anthropic clients. No text is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Conversations {
    /// How many conversations; the ones used longest ago give way.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000_000>")]
    #[schemars(schema_with = "schema::whole::<1, 100_000_000>")]
    pub max_entries: usize,
    /// How long after their last turn.
    #[serde(with = "age")]
    #[schemars(schema_with = "schema::age")]
    pub max_age: Duration,
    /// What happens to their requests while the store fails: `continue` begins new conversations,
    /// seeded with what the client sends, and stores their turns later; `refuse` answers 503.
    pub on_store_failure: OnStoreFailure,
}

/// What happens to requests while the store fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreFailure {
    /// They are served in new conversations.
    #[default]
    Continue,
    /// They are answered with 503.
    Refuse,
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

struct StoreVisitor;

impl<'de> Visitor<'de> for StoreVisitor {
    type Value = Store;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`redis://host:6379` or a map of `path` and `redis`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Store, E> {
        Ok(Store { path: None, redis: Some(Token::new(text)) })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Store, A::Error> {
        let WrittenStore { path, redis } =
            WrittenStore::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Store { path, redis })
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StoreVisitor)
    }
}

/// Checks the URL. Nothing of it is repeated: it may hold a password.
pub(super) fn check(written: &Written, places: &Places<'_>, notes: &mut Notes) {
    let Some(url) = &written.store.redis else { return };
    let fits = url.expose().starts_with("redis://") && url.expose().into_connection_info().is_ok();
    if !fits {
        let map = [Step::Key("store"), Step::Key("redis")];
        let span = if places.has(&map) { places.value(&map) } else { places.value(&map[..1]) };
        notes.add(
            Draft::error(span, "this is not the URL of a Redis")
                .hint("write it as `redis://user:password@host:6379/0`; TLS is not supported"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Conversations, OnStoreFailure};
    use crate::config::{Config, Environment, parse};

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
