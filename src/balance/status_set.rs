//! Statuses of answers that count against an instance.

/// A set of statuses from 500 to 599. Others cannot be in it: a 4xx is the client's or a model
/// provider's doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusSet(u128);

impl StatusSet {
    /// The set of these; what is not from 500 to 599 is left out.
    pub fn new(statuses: impl IntoIterator<Item = u16>) -> Self {
        Self(statuses.into_iter().filter_map(bit).fold(0, |set, bit| set | bit))
    }

    /// Whether a status is in it.
    pub fn contains(&self, status: u16) -> bool {
        bit(status).is_some_and(|bit| self.0 & bit != 0)
    }
}

fn bit(status: u16) -> Option<u128> {
    let place = status.checked_sub(500).filter(|place| *place < 100)?;
    Some(1 << place)
}

#[cfg(test)]
mod tests {
    use super::StatusSet;

    #[test]
    fn only_what_was_put_in_is_in_it() {
        let statuses = StatusSet::new([500, 503, 599, 429, 600, 0]);
        for status in 0..=u16::MAX {
            assert_eq!(statuses.contains(status), [500, 503, 599].contains(&status), "{status}");
        }
    }
}
