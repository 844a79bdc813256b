//! The words of the configuration: which may be shown, and which was meant.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What values a key has, and so whether the text after it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Holds other keys.
    Structure,
    /// Holds apps by their names.
    Apps,
    /// A value that is no secret.
    Open,
    /// A list of values that are no secrets.
    OpenList,
    /// A number, or headers by their names, whose values may be secrets.
    Headers,
    /// Everything else, above all keys nobody has thought of.
    Secret,
}

/// Keys whose values may be shown. What is not here is treated as a secret, so a new key is safe
/// before anybody remembers this table.
const KINDS: &[(&str, Kind)] = &[
    ("access_log", Kind::Open),
    ("aliases", Kind::OpenList),
    ("anonymous", Kind::Open),
    ("answer_output", Kind::Open),
    ("admin", Kind::Structure),
    ("ai", Kind::Structure),
    ("allow", Kind::OpenList),
    ("applications", Kind::Apps),
    ("apps", Kind::Apps),
    ("all_attempts", Kind::Open),
    ("all_bodies_memory", Kind::Open),
    ("attempts", Kind::Open),
    ("budget", Kind::Open),
    ("ca", Kind::Open),
    ("cert", Kind::Open),
    ("client_certificates", Kind::Structure),
    ("backlog", Kind::Open),
    ("body_rate", Kind::Open),
    ("connect", Kind::Open),
    ("connections_per_address", Kind::Open),
    ("drain", Kind::Open),
    ("doors", Kind::Structure),
    ("enabled", Kind::Open),
    ("engine", Kind::Open),
    ("expect", Kind::Open),
    ("expect_body", Kind::Open),
    ("fail_statuses", Kind::Open),
    ("fall", Kind::Open),
    ("fast_interval", Kind::Open),
    ("files", Kind::Open),
    ("files_url", Kind::Open),
    ("interval", Kind::Open),
    ("max_ejected_share", Kind::Open),
    ("probe", Kind::Structure),
    ("rise", Kind::Open),
    ("slow_start", Kind::Open),
    ("with_key", Kind::Open),
    ("consistent_hash", Kind::Structure),
    ("fail_timeout", Kind::Open),
    ("first_byte", Kind::Open),
    ("first_byte_idempotent", Kind::Open),
    ("format", Kind::Open),
    ("hash_algorithm", Kind::Open),
    ("header", Kind::Open),
    ("header_bytes", Kind::Open),
    ("headers", Kind::Headers),
    ("history", Kind::Open),
    ("h2_streams", Kind::Open),
    ("host", Kind::Open),
    ("hosts", Kind::OpenList),
    ("human_input", Kind::Open),
    ("idle", Kind::Open),
    ("instance_header", Kind::Open),
    ("instances", Kind::Structure),
    ("body", Kind::Open),
    ("chat_id_headers", Kind::OpenList),
    ("keep_alive", Kind::Open),
    ("keys", Kind::Structure),
    ("last_resort", Kind::Open),
    ("limits", Kind::Structure),
    ("listen", Kind::Open),
    ("max_age", Kind::Open),
    ("max_body", Kind::Open),
    ("max_concurrent", Kind::Open),
    ("max_connections", Kind::Open),
    ("max_entries", Kind::Open),
    ("max_fails", Kind::Open),
    ("max_load", Kind::Open),
    ("max_runs", Kind::Open),
    ("memory_body", Kind::Open),
    ("min_answer_rate", Kind::Open),
    ("method", Kind::Open),
    ("name", Kind::Open),
    ("owners", Kind::Structure),
    ("non_idempotent", Kind::Open),
    ("on_disconnect", Kind::Open),
    ("on_owner_down", Kind::Open),
    ("one_turn_at_a_time", Kind::Open),
    ("path", Kind::Open),
    ("pin_cpus", Kind::Open),
    ("port", Kind::Open),
    ("queue", Kind::Structure),
    ("reasoning", Kind::Open),
    ("query_input", Kind::Open),
    ("required", Kind::Open),
    ("resume", Kind::Open),
    ("retry", Kind::Structure),
    ("run_start", Kind::Open),
    ("run_timeout", Kind::Open),
    ("size", Kind::Open),
    ("sni", Kind::Open),
    ("spool_dir", Kind::Open),
    ("store", Kind::Structure),
    ("conversations", Kind::Structure),
    ("on_store_failure", Kind::Open),
    ("statuses", Kind::OpenList),
    ("storage", Kind::Open),
    ("task_words", Kind::OpenList),
    ("tasks", Kind::Open),
    ("system", Kind::Open),
    ("timeout", Kind::Open),
    ("timeouts", Kind::Structure),
    ("tls", Kind::Structure),
    ("trusted_proxies", Kind::OpenList),
    ("impersonate", Kind::Open),
    ("trusted_proxy", Kind::Open),
    ("uri_bytes", Kind::Open),
    ("url", Kind::Open),
    ("user", Kind::Open),
    ("users", Kind::Open),
    ("user_jwt", Kind::Structure),
    ("user_headers", Kind::OpenList),
    ("virtual_nodes", Kind::Open),
    ("web_url", Kind::Open),
    ("weight", Kind::Open),
    ("workers", Kind::Open),
    ("write", Kind::Open),
    ("<<", Kind::Structure),
];

/// What people write who know other gateways, and the key they want.
const FOREIGN: &[(&str, &str)] = &[
    ("access_token", "token"),
    ("address", "listen"),
    ("address", "url"),
    ("algorithm", "method"),
    ("api_key", "token"),
    ("backend", "instances"),
    ("backends", "instances"),
    ("base_url", "url"),
    ("bind", "listen"),
    ("hash", "consistent_hash"),
    ("health_check", "probe"),
    ("health", "probe"),
    ("healthcheck", "probe"),
    ("key", "token"),
    ("key", "secret"),
    ("keys", "user_tokens"),
    ("max_conns", "max_concurrent"),
    ("max_connections", "max_concurrent"),
    ("replicas", "virtual_nodes"),
    ("policy", "method"),
    ("retries", "attempts"),
    ("secret", "token"),
    ("server", "host"),
    ("servers", "instances"),
    ("services", "apps"),
    ("strategy", "method"),
    ("tmp_dir", "spool_dir"),
    ("token", "secret"),
    ("tokens", "user_tokens"),
    ("upstream", "instances"),
    ("upstreams", "instances"),
    ("user_token", "user_tokens"),
    ("vnodes", "virtual_nodes"),
];

/// Keys with a second name. The reader takes either, since serde has both.
const OTHER_NAMES: &[(&str, &str)] = &[("apps", "applications"), ("ai", "doors")];

/// Second names that are only there for one release more; nobody is told to write them.
const FORMER: &[&str] = &["doors"];

static BY_KEY: LazyLock<HashMap<&str, Kind>> = LazyLock::new(|| KINDS.iter().copied().collect());

/// What kind of values a key has.
pub(super) fn kind(key: &str) -> Kind {
    if key.starts_with("x-") {
        return Kind::Structure;
    }
    BY_KEY.get(key).copied().unwrap_or(Kind::Secret)
}

/// The second name of a key, if it has one.
pub(super) fn other_name(key: &str) -> Option<&'static str> {
    OTHER_NAMES.iter().find(|(name, _)| *name == key).map(|(_, other)| *other)
}

/// Whether a key is a former name, which the next release refuses.
pub(super) fn is_former(key: &str) -> bool {
    FORMER.contains(&key)
}

/// The key, if it looks like one: short and of letters. A token that has slipped into a key's place
/// has digits or is long, and must not be repeated.
pub(super) fn shown_key(key: &str) -> Option<&str> {
    let letters = key.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    let known = KINDS.iter().any(|(known, _)| *known == key);
    let is_word = letters && !key.is_empty() && key.len() <= 24 && !begins_as_key(key);
    (known || is_word).then_some(key)
}

/// Whether it begins as Dify's keys do: those of apps and of the knowledge API.
fn begins_as_key(text: &str) -> bool {
    ["app-", "dataset-"].iter().any(|start| text.starts_with(start))
}

/// Whether a value looks like a key of Dify, in whatever place it stands: a name has no such end.
pub(super) fn is_dify_key(value: &str) -> bool {
    let end = value.split_once('-').map_or("", |(_, end)| end);
    begins_as_key(value) && end.len() >= 16 && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a text is a name as apps and instances have them: 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

/// Which of `fields` was meant by `key`: a foreign word for it, or the nearest spelling.
pub(super) fn intended<'f>(key: &str, fields: &[&'f str]) -> Option<&'f str> {
    let fields = || fields.iter().copied().filter(|field| !is_former(field));
    let field = |wanted: &str| fields().find(|field| *field == wanted);
    let lower = key.to_ascii_lowercase().replace('-', "_");
    if let Some(same) = field(&lower) {
        return Some(same);
    }
    let foreign = FOREIGN.iter().filter(|(theirs, _)| *theirs == lower);
    if let Some(ours) = foreign.filter_map(|(_, ours)| field(ours)).next() {
        return Some(ours);
    }
    let near = fields().map(|field| (distance(&lower, field), field));
    let (distance, nearest) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= (nearest.len() / 3).max(1)).then_some(nearest)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
/// Words of more than 64 bytes are infinitely far from everything.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len().max(other.len()) > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0usize; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
            if swapped {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::{Kind, distance, intended, kind, shown_key};

    #[test]
    fn the_nearest_key_is_meant() {
        let fields = ["user_tokens", "consistent_hash", "instances"];
        for (written, meant) in [
            ("instnaces", Some("instances")),
            ("user_token", Some("user_tokens")),
            ("user-tokens", Some("user_tokens")),
            ("servers", Some("instances")),
            ("backend", Some("instances")),
            ("tokens", Some("user_tokens")),
            ("colour", None),
        ] {
            assert_eq!(intended(written, &fields), meant, "{written}");
        }
        assert_eq!(intended("max_conns", &["max_concurrent"]), Some("max_concurrent"));
        assert_eq!(intended("hots", &["host", "port"]), Some("host"));
    }

    #[test]
    fn a_swap_is_one_step() {
        assert_eq!(distance("host", "hots"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn what_nobody_has_thought_of_is_a_secret() {
        for key in ["token", "user_tokens", "secret", "api_key", "tokn", "anything"] {
            assert_eq!(kind(key), Kind::Secret, "{key}");
        }
    }

    #[test]
    fn a_token_in_the_place_of_a_key_is_not_shown() {
        assert_eq!(shown_key("app-f00"), None);
        assert_eq!(shown_key("dataset-abcdefghijkl"), None);
        assert_eq!(shown_key("dataset_token"), Some("dataset_token"));
        assert_eq!(shown_key("abcdefghijklmnopqrstuvwxyz"), None);
        assert_eq!(shown_key("user_tokens"), Some("user_tokens"));
    }
}
