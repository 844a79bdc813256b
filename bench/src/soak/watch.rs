//! The gateway's memory and descriptors, seen from outside.

use anyhow::Context;

/// What a process holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Resident memory.
    pub resident_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// Memory may move by so much without being called a leak: uploads that wait for a frozen instance
/// take some MiB for a moment, and the allocator keeps them.
const RESIDENT_ALLOWANCE_KIB: u64 = 12 * 1024;
/// Descriptors may, as connections come and go.
const DESCRIPTORS_ALLOWANCE: u64 = 32;

/// Looks at a process.
///
/// # Errors
/// It has ended, or this is not Linux.
pub fn sample(id: u32) -> anyhow::Result<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("it has ended")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kib = resident
        .and_then(|text| text.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .context("no VmRSS")?;
    let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).context("it has ended")?.count();
    Ok(Sample { resident_kib, descriptors: descriptors as u64 })
}

/// What has grown from the second quarter to the last, by more than a tenth and a small allowance.
/// The first quarter is left out: caches and allocators fill up there.
#[must_use]
pub fn grown(samples: &[Sample]) -> Vec<String> {
    let quarter = samples.len() / 4;
    let (second, last) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let growth = |unit: &str, look: fn(&Sample) -> u64, allowance: u64| {
        let (before, after) = (median(second, look), median(last, look));
        (after > before + before / 10 + allowance)
            .then(|| format!("from {before} to {after} {unit}"))
    };
    [
        growth("KiB resident", |sample| sample.resident_kib, RESIDENT_ALLOWANCE_KIB),
        growth("descriptors", |sample| sample.descriptors, DESCRIPTORS_ALLOWANCE),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn median(samples: &[Sample], look: fn(&Sample) -> u64) -> u64 {
    let mut figures: Vec<_> = samples.iter().map(look).collect();
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Sample, grown, sample};

    fn samples(figure: impl Fn(u64) -> (u64, u64)) -> Vec<Sample> {
        let one = |(resident_kib, descriptors)| Sample { resident_kib, descriptors };
        (0..100).map(|second| one(figure(second))).collect()
    }

    #[test]
    fn a_leak_is_found_and_a_start_is_not() {
        assert_eq!(grown(&samples(|s| (20_000 + s.min(20) * 500, 100 + s % 7))).len(), 0);
        let leak = grown(&samples(|s| (20_000 + s * 400, 100)));
        assert!(leak[0].ends_with("KiB resident") && leak.len() == 1, "{leak:?}");
        let leak = grown(&samples(|s| (20_000, 100 + s)));
        assert!(leak[0].ends_with("descriptors") && leak.len() == 1, "{leak:?}");
        assert!(grown(&[]).is_empty());
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let own = sample(std::process::id()).unwrap();
        assert!(own.resident_kib > 100 && own.descriptors > 2, "{own:?}");
    }
}
