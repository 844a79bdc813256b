//! What members are called: one label for all that have a name.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;

use crate::gateway::state::member::Label;
use crate::model::InstanceName;

/// The labels of a snapshot that is being built.
pub(super) struct Labels {
    by_name: HashMap<InstanceName, Arc<Label>>,
    are_shown: bool,
}

impl Labels {
    /// None yet; whether answers say who gave them.
    pub(super) fn new(are_shown: bool) -> Self {
        Self { by_name: HashMap::new(), are_shown }
    }

    pub(super) fn of(&mut self, name: &InstanceName) -> Arc<Label> {
        if let Some(known) = self.by_name.get(name) {
            return Arc::clone(known);
        }
        let header = self.are_shown.then(|| HeaderValue::try_from(name.as_str()).ok()).flatten();
        let label = Arc::new(Label { name: name.clone(), header });
        self.by_name.insert(name.clone(), Arc::clone(&label));
        label
    }
}
