//! Names of owners by number. A number stays what it is for as long as the process lives.

use arc_swap::ArcSwap;

use super::table::MAX_NAMES;
use crate::model::InstanceName;

/// Few and hardly ever changed, so a list that is copied when it grows.
#[derive(Debug, Default)]
pub(super) struct Names(ArcSwap<Vec<InstanceName>>);

impl Names {
    pub(super) fn get(&self, number: u16) -> Option<InstanceName> {
        self.0.load().get(usize::from(number)).cloned()
    }

    /// The number of a name, which is added if it is new. `None` if there are too many.
    pub(super) fn number(&self, name: &str) -> Option<u16> {
        let find = |names: &[InstanceName]| names.iter().position(|known| known.as_str() == name);
        let known = find(&self.0.load());
        let number = known.or_else(|| {
            self.0.rcu(|names| {
                let mut names = Vec::clone(names);
                if find(&names).is_none() && names.len() < MAX_NAMES {
                    names.push(name.into());
                }
                names
            });
            find(&self.0.load())
        });
        number.and_then(|number| u16::try_from(number).ok())
    }
}
