//! The time of day as the data of Dify give it.

/// Seconds since 1970, as Dify gives times.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
