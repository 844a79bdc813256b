//! What is tried again.

use serde::{Serialize, Serializer};

/// What is tried again, every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Further attempts after the first.
    pub attempts: u32,
    /// Retries as a share of requests, in thousandths.
    #[serde(serialize_with = "write_share")]
    pub budget: u32,
    /// Statuses, 500 to 599, after which the next instance is asked.
    pub statuses: Vec<u16>,
    /// Whether also a request that may have been executed is sent to another instance.
    pub non_idempotent: bool,
    /// Whether a streamed flow is taken up again whose stream broke off.
    pub resume: bool,
}

/// Writes thousandths as they are read: `20%`, `12.5%`.
fn write_share<S: Serializer>(thousandths: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    let (whole, tenths) = (thousandths / 10, thousandths % 10);
    match tenths {
        0 => serializer.collect_str(&format_args!("{whole}%")),
        _ => serializer.collect_str(&format_args!("{whole}.{tenths}%")),
    }
}

impl Default for Retry {
    fn default() -> Self {
        let statuses = Vec::new();
        Self { attempts: 2, budget: 200, statuses, non_idempotent: false, resume: true }
    }
}
