//! A balancer's `health_check` as a probe.

use super::value::{Field, Table};
use super::writer::{Writer, Written, flow};

/// A key of the probe, what balancers call it, and how its value is written.
const KEYS: [(&str, &[&str], Written); 6] = [
    ("enabled", &["enabled", "enable"], Written::Boolean),
    ("path", &["path", "uri"], Written::Text),
    ("interval", &["interval", "check_interval"], Written::Pause),
    ("timeout", &["timeout"], Written::Pause),
    ("rise", &["rise", "passes", "successes", "healthy_threshold"], Written::Whole),
    ("fall", &["fall", "fails", "failures", "unhealthy_threshold", "max_fails"], Written::Whole),
];

/// The probe as a map on one line.
pub(super) fn probe(writer: &mut Writer, table: &Table) -> String {
    let mut pairs = Vec::new();
    for field in &table.fields {
        let known = KEYS.iter().find(|(_, names, _)| names.contains(&field.key.as_str()));
        let Some((key, _, written)) = known else {
            writer.ignore(field);
            continue;
        };
        tell(writer, key, field);
        pairs.extend(writer.pair(key, field, *written));
    }
    flow(&pairs)
}

/// Dify's own nginx gives `/health` to the web pages, whatever becomes of the API.
fn tell(writer: &mut Writer, key: &str, field: &Field) {
    if key == "path" && field.value.plain().is_some_and(|path| path == "/health") {
        let message = "behind Dify's own nginx `/health` says nothing of the API";
        writer.remark(field.at, message, "remove `path` in the result: difygate then asks `/v1/`");
    }
}
