//! What is known of an instance's health, for `/status` and `/metrics`.

use serde_json::{Value, json};

use crate::gateway::Shared;
use crate::gateway::member::Member;

/// Dify's first version whose API container serves more than ten connections.
const FIRST_WITH_MANY: (u32, u32) = (1, 12);
/// What earlier ones serve.
const FEW: u32 = 10;

/// A moment of the gateway's clock, as RFC 3339 with milliseconds.
pub(super) fn time(shared: &Shared, ms: u64) -> String {
    format!("{:.3}", shared.time_of(ms))
}

/// The last probe; null where none is sent.
pub(super) fn probe(shared: &Shared, member: &Member) -> Value {
    let Some(probed) = &member.probed else { return Value::Null };
    let (last, standing) = (probed.last(), probed.health().standing());
    json!({
        "path": probed.probe().path.as_str(),
        "last": last.as_ref().map(|last| last.text.as_str()),
        "at": last.as_ref().map(|last| time(shared, last.at_ms)),
        "good": standing.streak > 0 && !standing.last_was_bad,
        "streak": standing.streak,
    })
}

/// What an operator should change.
pub(super) fn hint(member: &Member) -> Option<String> {
    let version = member.instance.version()?;
    let many = member.instance.slots().limit() > FEW;
    (many && parse(&version)? < FIRST_WITH_MANY).then(|| {
        format!(
            "Dify {version} serves {FEW} connections per API container: set `max_concurrent: {FEW}`"
        )
    })
}

/// Major and minor of `1.5.0`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::{FIRST_WITH_MANY, parse};

    #[test]
    fn versions_are_compared_by_number() {
        for (version, is_old) in [
            ("1.5.0", true),
            ("0.15.3", true),
            ("1.9", true),
            ("1.12.0", false),
            ("2.0.0-b1", false),
        ] {
            assert_eq!(parse(version).unwrap() < FIRST_WITH_MANY, is_old, "{version}");
        }
        assert_eq!(parse("main"), None);
    }
}
