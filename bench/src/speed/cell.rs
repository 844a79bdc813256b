//! The figures of one contender at one work, and what is made of several rounds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Median and 99th percentile of what clients waited in a round, in microseconds.
pub type Waited = (f64, f64);

/// What was found out.
#[derive(Debug, Default, Clone)]
pub struct Cell {
    /// Why there is nothing.
    pub absent: Option<String>,
    /// Microseconds of CPU a unit, a round each.
    pub costs_us: Vec<f64>,
    /// Units a second as they came, a round each.
    pub rates: Vec<f64>,
    /// The share of its core that it used, a round each.
    pub loads: Vec<f64>,
    /// Microseconds that clients waited, median and 99th percentile, a round each.
    pub waited_us: Vec<Waited>,
    /// What clients waited at most beside something large, as the 99th percentile and in parts of that of
    /// the same round's quiet moment, a round each.
    pub beside: BTreeMap<&'static str, Vec<f64>>,
    /// Resident memory in KiB before it did anything.
    pub fresh_kib: Option<f64>,
    /// More figures with their units in their names.
    pub more: BTreeMap<&'static str, f64>,
    /// What went wrong, and how often.
    pub failures: BTreeMap<String, u64>,
}

impl Cell {
    /// Of one who does not take part. Of all that a program said, the first and the last line.
    #[must_use]
    pub fn absent(why: &str) -> Self {
        let mut lines = why.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or("no reason");
        let why = lines.next_back().map_or(first.to_owned(), |last| format!("{first}: {last}"));
        Self { absent: Some(why), ..Self::default() }
    }

    /// Median cost of the rounds.
    #[must_use]
    pub fn cost_us(&self) -> Option<f64> {
        median(&self.costs_us)
    }

    /// Cost of the best round: the machine can only add to it.
    #[must_use]
    pub fn least_us(&self) -> Option<f64> {
        self.costs_us.iter().copied().min_by(f64::total_cmp)
    }

    /// The median of the rounds' ratios to another one's cost in the same round.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> Option<f64> {
        let pairs = self.costs_us.iter().zip(&other.costs_us);
        median(&pairs.map(|(own, other)| own / other).collect::<Vec<_>>())
    }

    /// Failures of all kinds.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// For a file.
    #[must_use]
    pub fn json(&self) -> Value {
        if let Some(why) = &self.absent {
            return json!({ "absent": why });
        }
        let waited = medians(&self.waited_us);
        json!({
            "cpu_us": self.costs_us, "cpu_us_median": self.cost_us(), "cpu_us_min": self.least_us(),
            "per_second": self.rates, "core_share": self.loads,
            "wait_us_p50": waited.map(|(p50, _)| p50), "wait_us_p99": waited.map(|(_, p99)| p99),
            "waits_us": self.waited_us, "beside": self.beside,
            "fresh_kib": self.fresh_kib, "more": self.more, "failures": self.failures,
        })
    }
}

/// The middle one, or the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let high = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(high);
    }
    Some(f64::midpoint(*sorted.get(middle - 1)?, high))
}

/// Of several rounds, the median of each.
#[must_use]
pub fn medians(rounds: &[Waited]) -> Option<Waited> {
    let (p50, p99): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
    Some((median(&p50)?, median(&p99)?))
}

/// Median and 99th percentile of sorted nanoseconds, in microseconds.
#[must_use]
pub fn waited(sorted_ns: &[u32]) -> Option<Waited> {
    let at = |percent: usize| {
        let place = (sorted_ns.len() * percent / 100).min(sorted_ns.len().saturating_sub(1));
        sorted_ns.get(place).map(|ns| f64::from(*ns) / 1_000.0)
    };
    Some((at(50)?, at(99)?))
}

#[cfg(test)]
mod tests {
    use super::{Cell, median, medians, waited};

    #[test]
    fn rounds_become_medians_and_paired_ratios() {
        assert_eq!(
            (median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0]), median(&[])),
            (Some(2.0), Some(1.5), None)
        );
        let cell = |costs_us: &[f64]| Cell { costs_us: costs_us.to_vec(), ..Cell::default() };
        // The machine was half as fast in the second round: for both of them.
        let (own, other) = (cell(&[10.0, 20.0, 10.0]), cell(&[20.0, 40.0, 21.0]));
        assert_eq!((own.ratio(&other), own.least_us()), (Some(0.5), Some(10.0)));
        let sorted: Vec<u32> = (1..=1_000).map(|us| us * 1_000).collect();
        assert_eq!(waited(&sorted), Some((501.0, 991.0)));
        let rounds = [(1.0, 9.0), (3.0, 7.0), (2.0, 500.0)];
        assert_eq!((medians(&rounds), medians(&[])), (Some((2.0, 9.0)), None));
    }
}
