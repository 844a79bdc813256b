//! Which key was meant by one that is not known, and keys with two names.

use strsim::osa_distance;

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

/// The same for values.
const FOREIGN_VALUES: &[(&str, &str)] = &[
    ("consistent", "consistent_hash"),
    ("hash", "consistent_hash"),
    ("ketama", "consistent_hash"),
    ("least_conn", "least_connections"),
    ("least_request", "least_connections"),
    ("leastconn", "least_connections"),
    ("ring_hash", "consistent_hash"),
    ("round_robin", "weighted_round_robin"),
    ("roundrobin", "weighted_round_robin"),
    ("rr", "weighted_round_robin"),
    ("source", "ip_hash"),
    ("wrr", "weighted_round_robin"),
];

/// Which of the choices was meant by a word.
pub(super) fn intended_value(word: &str, choices: &[&'static str]) -> Option<&'static str> {
    let lower = word.to_ascii_lowercase().replace('-', "_");
    let foreign = FOREIGN_VALUES.iter().find(|(theirs, _)| *theirs == lower).map(|(_, ours)| *ours);
    let ours = foreign.and_then(|ours| choices.iter().copied().find(|choice| *choice == ours));
    ours.or_else(|| intended(word, choices))
}

/// Keys with a second name. The reader takes either, since serde has both.
const OTHER_NAMES: &[(&str, &str)] = &[("apps", "applications"), ("ai", "doors")];

/// Second names that are only there for one release more; nobody is told to write them.
const FORMER: &[&str] = &["doors"];

/// The second name of a key, if it has one.
pub(super) fn other_name(key: &str) -> Option<&'static str> {
    OTHER_NAMES.iter().find(|(name, _)| *name == key).map(|(_, other)| *other)
}

/// Whether a key is a former name, which the next release refuses.
pub(super) fn is_former(key: &str) -> bool {
    FORMER.contains(&key)
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
    // A token in the place of a key is long, and near to nothing.
    if lower.len() > 64 {
        return None;
    }
    let near = fields().map(|field| (osa_distance(&lower, field), field));
    let (distance, nearest) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= (nearest.len() / 3).max(1)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::{intended, intended_value};

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
    fn methods_are_known_by_the_names_of_others() {
        let methods = ["consistent_hash", "weighted_round_robin", "least_connections", "ip_hash"];
        for (written, meant) in [
            ("round_robin", Some("weighted_round_robin")),
            ("Round-Robin", Some("weighted_round_robin")),
            ("least_conn", Some("least_connections")),
            ("ip-hash", Some("ip_hash")),
            ("consistent_hsah", Some("consistent_hash")),
            ("cheapest", None),
        ] {
            assert_eq!(intended_value(written, &methods), meant, "{written}");
        }
    }

    #[test]
    fn a_swap_is_one_step_and_a_former_name_is_never_meant() {
        assert_eq!(intended("hsot", &["host"]), Some("host"));
        assert_eq!(intended("doorz", &["ai", "doors"]), None);
    }
}
