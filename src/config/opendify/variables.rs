//! The names of the variables: which there are, which have nothing to do here, which was meant.

use strsim::osa_distance;

use super::reader::Reader;
use crate::config::diagnostic::DiagnosticBuilder;

/// The variables of which it takes at least one.
pub(crate) const NEEDED: [&str; 3] = ["MODEL_CONFIG", "DIFY_API_KEYS", "DIFY_API_BASE"];

/// All that are read, here or by commands.
const READ: [&str; 22] = [
    "ALLOW_ANONYMOUS",
    "DIFYGATE_ACCESS_LOG",
    "DIFYGATE_ADMIN_LISTEN",
    "DIFYGATE_ADMIN_TOKEN",
    "DIFYGATE_CONFIG",
    "DIFYGATE_REDIS_URL",
    "DIFYGATE_STORE",
    "DIFYGATE_WORKERS",
    "DIFY_API_BASE",
    "DIFY_API_KEYS",
    "ENVIRONMENT",
    "GUNICORN_KEEPALIVE",
    "GUNICORN_TIMEOUT",
    "GUNICORN_WORKERS",
    "HTTP_TIMEOUT",
    "LOG_LEVEL",
    "MODEL_CONFIG",
    "SERVER_HOST",
    "SERVER_PORT",
    "STATE_DIRECTORY",
    "VALID_API_KEYS",
    "WEB_CONCURRENCY",
];

/// What people write for them who think of OpenDify's forks.
const FOREIGN: [(&str, &str); 6] = [
    ("API_KEYS", "VALID_API_KEYS"),
    ("DIFY_API_BASE_URL", "DIFY_API_BASE"),
    ("DIFY_API_URL", "DIFY_API_BASE"),
    ("DIFY_BASE_URL", "DIFY_API_BASE"),
    ("DIFY_KEYS", "DIFY_API_KEYS"),
    ("MODELS_CONFIG", "MODEL_CONFIG"),
];

/// What is about processes of Python, or about how OpenDify finds a conversation again. Any other name of
/// gunicorn's is such, too.
const NOT_NEEDED: [&str; 5] = [
    "CONVERSATION_MEMORY_MODE",
    "MAX_REQUESTS",
    "MAX_REQUESTS_JITTER",
    "PRELOAD_APP",
    "WORKER_CLASS",
];

/// Shorter names are near to too many others.
const SHORTEST: usize = 7;

impl Reader<'_> {
    /// Warns of variables that look like one that is read.
    pub(super) fn ask_about_others(&mut self) {
        for (name, meant) in self.vars.keys().filter_map(|name| Some((name, meant(name)?))) {
            let message = format!("`{name}` is set, and nothing reads it");
            let draft = DiagnosticBuilder::placeless(message).into_warning();
            self.sink.add(draft.hint(format!("did you mean `{meant}`?")));
        }
    }

    /// What is to be said at the start.
    pub(super) fn notes(&self) -> Vec<String> {
        let names = self.vars.keys().filter(|name| is_not_needed(name));
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        let note = format!(
            "not needed here: {}. It is one process, which is never restarted for its memory, reads a changed \
             file of variables again and continues conversations by what was said in them",
            names.join(", ")
        );
        if names.is_empty() { Vec::new() } else { vec![note] }
    }
}

fn is_not_needed(name: &str) -> bool {
    NOT_NEEDED.contains(&name) || name.starts_with("GUNICORN_") && !READ.contains(&name)
}

/// Which variable was meant by one that is not read.
fn meant(name: &str) -> Option<&'static str> {
    if READ.contains(&name) || is_not_needed(name) && near(name).is_none() {
        return None;
    }
    let foreign = FOREIGN.iter().find(|(theirs, _)| *theirs == name);
    foreign.map(|(_, ours)| *ours).or_else(|| near(name))
}

/// The variable that is one or two slips away.
fn near(name: &str) -> Option<&'static str> {
    if !(SHORTEST..=64).contains(&name.len()) {
        return None;
    }
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let steps = READ.iter().map(|read| (osa_distance(&upper, read), *read));
    let (steps, nearest) = steps.min()?;
    (steps <= 2).then_some(nearest)
}

/// The variable that says what a key of a configuration file says, for a message.
pub(crate) fn of_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "listen" => "`SERVER_HOST` and `SERVER_PORT`",
        "admin.listen" => "`DIFYGATE_ADMIN_LISTEN`",
        "store.path" => "`DIFYGATE_STORE`",
        "access_log" => "`DIFYGATE_ACCESS_LOG`",
        _ => return None,
    })
}

/// The variable that a line of the text says, which is made of them with one key in each line. `keys` is where
/// the keys of apps come from.
pub(super) fn of_line(line: &str, keys: &'static str) -> Option<&'static str> {
    let key = line.trim_start().strip_prefix('"')?.split('"').next()?;
    Some(match key {
        "token" | "name" | "aliases" => keys,
        "secret" => "`VALID_API_KEYS`",
        "url" => "`DIFY_API_BASE`",
        "path" => "`DIFYGATE_STORE`",
        "redis" => "`DIFYGATE_REDIS_URL`",
        "listen" => "`SERVER_HOST` and `SERVER_PORT`",
        "first_byte" | "idle" | "all_attempts" => "`HTTP_TIMEOUT`",
        "keep_alive" => "`GUNICORN_KEEPALIVE`",
        "access_log" => "`DIFYGATE_ACCESS_LOG`",
        "workers" => "`DIFYGATE_WORKERS`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{is_not_needed, meant};

    #[test]
    fn a_slip_is_seen_and_others_are_let_be() {
        for (name, ours) in [
            ("VALID_API_KEY", Some("VALID_API_KEYS")),
            ("DIFY_API_KEY", Some("DIFY_API_KEYS")),
            ("MODEL_CONFG", Some("MODEL_CONFIG")),
            ("model_config", Some("MODEL_CONFIG")),
            ("LOGLEVEL", Some("LOG_LEVEL")),
            ("GUNICORN_WORKER", Some("GUNICORN_WORKERS")),
            ("DIFY_BASE_URL", Some("DIFY_API_BASE")),
            ("DIFYGATE_REDIS", None),
            ("VALID_API_KEYS", None),
            ("GUNICORN_MAX_REQUESTS", None),
            ("SERVER_NAME", None),
            ("DIFYGATE_SERVICE_HOST", None),
            ("PATH", None),
            ("HOSTNAME", None),
        ] {
            assert_eq!(meant(name), ours, "{name}");
        }
    }

    #[test]
    fn what_is_gunicorns_is_not_needed_but_for_what_is_read() {
        for name in ["GUNICORN_RELOAD", "GUNICORN_MAX_REQUESTS_JITTER", "CONVERSATION_MEMORY_MODE"]
        {
            assert!(is_not_needed(name), "{name}");
        }
        assert!(!is_not_needed("GUNICORN_WORKERS") && !is_not_needed("PATH"));
    }
}
