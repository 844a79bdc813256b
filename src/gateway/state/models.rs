//! Which app a model id names, for clients that call an app a model.

use std::collections::HashMap;
use std::sync::Arc;

/// The model ids of all apps.
#[derive(Debug, Default)]
pub struct Models {
    listed: Vec<(Arc<str>, usize)>,
    places: HashMap<Arc<str>, usize>,
}

impl Models {
    /// The lookup of ids, each with the place of its app, in the order in which they are listed.
    pub fn new<'a>(ids: impl IntoIterator<Item = (&'a str, usize)>) -> Self {
        let listed: Vec<_> = ids.into_iter().map(|(id, app)| (Arc::from(id), app)).collect();
        Self { places: listed.iter().cloned().collect(), listed }
    }

    /// The place of the app that `id` names, to the letter.
    pub fn app(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Every id with the place of its app, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.listed.iter().map(|(id, app)| (id, *app))
    }
}
