//! Families of numbers, as the exposition has them.

use std::fmt;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::telemetry::Histogram;

/// One family of numbers: name, help, unit, kind, and its lines.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: MetricType,
    pub(super) lines: Vec<Line>,
}

pub(super) type Labels = Vec<(&'static str, String)>;

pub(super) struct Line {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

pub(super) enum Value {
    Counter(u64),
    Gauge(u64),
    Histogram { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

pub(super) fn counter(name: &'static str, help: &'static str, lines: Vec<Line>) -> Family {
    Family { name, help, unit: None, kind: MetricType::Counter, lines }
}

pub(super) fn gauge(name: &'static str, help: &'static str, lines: Vec<Line>) -> Family {
    Family { name, help, unit: None, kind: MetricType::Gauge, lines }
}

pub(super) fn seconds(name: &'static str, help: &'static str, lines: Vec<Line>) -> Family {
    Family { name, help, unit: Some(Unit::Seconds), kind: MetricType::Histogram, lines }
}

pub(super) fn count(labels: Labels, value: u64) -> Line {
    Line { labels, value: Value::Counter(value) }
}

pub(super) fn now(labels: Labels, value: u64) -> Line {
    Line { labels, value: Value::Gauge(value) }
}

pub(super) fn spread(labels: Labels, histogram: &Histogram) -> Line {
    let (sum, count, buckets) = (histogram.sum_s(), histogram.count(), histogram.buckets());
    Line { labels, value: Value::Histogram { sum, count, buckets } }
}

pub(super) fn write(metric: &mut MetricEncoder<'_>, value: &Value) -> Result<(), fmt::Error> {
    match value {
        Value::Counter(count) => metric.encode_counter::<NoLabelSet, _, u64>(count, None),
        Value::Gauge(now) => metric.encode_gauge(now),
        Value::Histogram { sum, count, buckets } => {
            metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        }
    }
}
