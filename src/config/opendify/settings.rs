//! What is about the process: its workers, its waits, its log, what it keeps.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::reader::Reader;
use crate::model::Timeouts;

/// The longest wait that may be asked for.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Reader<'_> {
    /// Settings at the top of the configuration.
    pub(super) fn settings(&mut self) -> Map<String, Value> {
        let mut settings = Map::new();
        if let Some(workers) = self.workers() {
            settings.insert("workers".into(), json!(workers));
        }
        let timeouts = self.timeouts();
        if !timeouts.is_empty() {
            settings.insert("timeouts".into(), timeouts.into());
        }
        let store = self.store();
        if !store.is_empty() {
            settings.insert("store".into(), store.into());
        }
        if let Some(log) = self.var("DIFYGATE_ACCESS_LOG") {
            let log = match &*log.to_ascii_lowercase() {
                form @ ("off" | "json" | "combined") => json!(form),
                _ => json!({ "path": log }),
            };
            settings.insert("access_log".into(), log);
        }
        settings
    }

    /// Of several variables the first that is set counts.
    fn workers(&mut self) -> Option<usize> {
        let names = ["DIFYGATE_WORKERS", "GUNICORN_WORKERS", "WEB_CONCURRENCY"];
        let (name, written) = names.iter().find_map(|name| Some((name, self.var(name)?)))?;
        let workers = written.parse().ok().filter(|workers| (1..=1024).contains(workers));
        if workers.is_none() {
            let message = format!("`{name}` must be a number from 1 to 1024");
            self.error(message, "leave it out for one worker per core");
        }
        workers
    }

    /// OpenDify's client waited so long for the first byte of an answer and for each further one; gunicorn
    /// ends a worker that takes longer.
    fn timeouts(&mut self) -> Map<String, Value> {
        let waits = ["HTTP_TIMEOUT", "GUNICORN_TIMEOUT"].map(|name| self.seconds(name));
        let keep_alive = self.seconds("GUNICORN_KEEPALIVE");
        let wait = waits.into_iter().flatten().min();
        // All attempts together take at least as long as one.
        let all = wait.map(|wait| wait + Duration::from_secs(60));
        let all = all.filter(|all| *all > Timeouts::default().all_attempts);
        let all = [
            ("first_byte", wait),
            ("all_attempts", all),
            ("idle", wait),
            ("keep_alive", keep_alive),
        ];
        let set = all.into_iter().filter_map(|(key, time)| Some((key, time?.as_millis())));
        set.map(|(key, ms)| (key.to_owned(), json!(format!("{ms}ms")))).collect()
    }

    /// A time in seconds. Zero, and `None` as Python has it, are no limit.
    fn seconds(&mut self, name: &str) -> Option<Duration> {
        let written = self.var(name).filter(|written| *written != "None")?;
        let time = written.parse().ok().and_then(|time| Duration::try_from_secs_f64(time).ok());
        match time.filter(|time| *time <= LONGEST) {
            Some(time) => Some(time).filter(|time| time.as_millis() > 0),
            None => {
                let message = format!("`{name}` must be a number of seconds up to 86400");
                self.error(message, "leave it out for what the documentation says");
                None
            }
        }
    }

    fn store(&mut self) -> Map<String, Value> {
        let mut store = Map::new();
        if let Some(folder) = self.var("DIFYGATE_STORE") {
            store.insert("path".into(), json!(folder));
        }
        if let Some(url) = self.var("DIFYGATE_REDIS_URL").map(str::to_owned) {
            if !url.starts_with("redis://") {
                let hint =
                    "write `redis://HOST:6379/0`, with `:PASSWORD@` before the host if it has one";
                self.error("`DIFYGATE_REDIS_URL` is not the URL of a Redis", hint);
            }
            store.insert("redis".into(), json!(url));
        }
        store
    }

    /// `LOG_LEVEL` in the names of Python, as the filter of the error log; without it, what is usual where one
    /// develops.
    pub(super) fn log_level(&mut self) -> Option<&'static str> {
        let Some(level) = self.var("LOG_LEVEL").map(str::to_ascii_uppercase) else {
            let place = self.var("ENVIRONMENT").unwrap_or_default().to_ascii_lowercase();
            return matches!(&*place, "development" | "dev").then_some("debug");
        };
        let filter = match &*level {
            "DEBUG" => "debug",
            "INFO" => "info",
            "WARNING" | "WARN" => "warn",
            "ERROR" | "CRITICAL" | "FATAL" => "error",
            _ => {
                let hint = "write `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`";
                self.error("`LOG_LEVEL` has an unknown value", hint);
                return None;
            }
        };
        Some(filter)
    }
}
