//! How busy an instance is.

/// What an instance has to do: requests in flight over its weight.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests under way.
    pub in_flight: u32,
    /// The configured weight, at least 1.
    pub weight: u32,
}

impl Load {
    /// Less loaded first; the comparison is exact, by cross multiplication.
    pub(super) fn is_less_than(self, other: Self) -> bool {
        u64::from(self.in_flight) * u64::from(other.weight)
            < u64::from(other.in_flight) * u64::from(self.weight)
    }
}
