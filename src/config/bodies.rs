//! How much memory all buffered bodies may take: a share of the machine's, or a size.

use serde::{Deserializer, Serializer};

use crate::model::units::{format_size, from_text, parse_size};

/// How much memory all buffered bodies may take. Written as a share such as `25%`, or as a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodiesMemory {
    /// Of the machine's memory, or of the control group's limit where that is less, in percent.
    Percent(u8),
    /// In bytes.
    Bytes(u64),
}

impl Default for BodiesMemory {
    fn default() -> Self {
        Self::Percent(25)
    }
}

/// The least that is believed: less would refuse ordinary requests.
const LEAST: u64 = 1 << 20;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<BodiesMemory, D::Error> {
    from_text(de, |text| {
        let wrong = "must be a share from `1%` to `100%`, or a size of at least `1MiB`";
        let read = match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim_end().parse().ok();
                percent.filter(|percent| (1..=100).contains(percent)).map(BodiesMemory::Percent)
            }
            None => parse_size(text).filter(|bytes| *bytes >= LEAST).map(BodiesMemory::Bytes),
        };
        read.ok_or_else(|| wrong.to_owned())
    })
}

pub(super) fn serialize<S: Serializer>(
    memory: &BodiesMemory,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match memory {
        BodiesMemory::Percent(percent) => serializer.collect_str(&format_args!("{percent}%")),
        BodiesMemory::Bytes(bytes) => serializer.collect_str(&format_size(*bytes)),
    }
}
