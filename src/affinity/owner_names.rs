//! Names of owners by number. A number stays what it is for as long as the process lives.

use arc_swap::ArcSwap;
use hashbrown::DefaultHashBuilder;
use indexmap::IndexSet;

use super::table::MAX_NAMES;
use crate::model::InstanceName;

/// Few and hardly ever changed, so a set that is copied when it grows. The operator chooses the names,
/// not who sends requests: the hash need not withstand anybody.
#[derive(Debug, Default)]
pub(super) struct OwnerNames(ArcSwap<IndexSet<InstanceName, DefaultHashBuilder>>);

impl OwnerNames {
    pub(super) fn get(&self, number: u16) -> Option<InstanceName> {
        self.0.load().get_index(usize::from(number)).cloned()
    }

    /// The number of a name, which is added if it is new. `None` if there are too many.
    pub(super) fn number(&self, name: &str) -> Option<u16> {
        let known = self.0.load().get_index_of(name);
        let number = known.or_else(|| {
            self.0.rcu(|names| {
                let mut names = IndexSet::clone(names);
                if names.len() < MAX_NAMES {
                    names.insert(name.into());
                }
                names
            });
            self.0.load().get_index_of(name)
        });
        number.and_then(|number| u16::try_from(number).ok())
    }
}
