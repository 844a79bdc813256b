//! Counters without locks and without labels.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that comes and goes.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more.
    pub fn rise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn fall(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are now; never below 0.
    pub fn get(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// Upper bounds of the latency buckets, in seconds. They span a refusal (under 1 ms) to the longest
/// run that Dify allows (1200 s).
pub const LATENCY_BOUNDS_S: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    1200.0,
];

/// A latency distribution over [`LATENCY_BOUNDS_S`]. The sum stands beside the quickest buckets
/// (`repr(C)`), so that counting mostly touches one place in memory.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Histogram {
    sum_us: Counter,
    /// One count per bound, then one for everything above.
    buckets: [Counter; LATENCY_BOUNDS_S.len() + 1],
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = LATENCY_BOUNDS_S.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].add_one();
        self.sum_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// The sum of all durations, in seconds.
    pub fn sum_s(&self) -> f64 {
        Duration::from_micros(self.sum_us.get()).as_secs_f64()
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// `(upper bound in seconds, count in this bucket alone)`; the last bound is infinite.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = LATENCY_BOUNDS_S.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().map(Counter::get)).collect()
    }

    /// The mean, in milliseconds; 0 without a count.
    pub fn mean_ms(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum_s() * 1000.0 / count as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;

    #[test]
    fn a_duration_lands_in_the_bucket_whose_bound_it_does_not_pass() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 2_000_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1]), ((0.001, 2), (0.0025, 1)));
        assert_eq!(buckets[buckets.len() - 1], (f64::INFINITY, 1));
        assert_eq!(histogram.count(), 4);
        assert!((histogram.sum_s() - 2000.003).abs() < 1e-9);
    }
}
