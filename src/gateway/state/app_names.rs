//! What Dify calls the apps whose model ids are its names for them, as far as that is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::model::AppName;

/// What is known of one app's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// What Dify called it last.
    pub name: Option<String>,
    /// Why it could not be asked the last time.
    pub fault: Option<String>,
}

/// What is known of all apps' names. No request looks here: names are in the snapshot.
#[derive(Debug, Default)]
pub struct AppNames {
    known: ArcSwap<BTreeMap<AppName, Naming>>,
    changed: Notify,
    asked_again: Notify,
}

impl AppNames {
    /// Takes what an instance said, or why none did. It gives what was known before.
    pub(crate) fn learn(&self, app: &AppName, said: Result<String, String>) -> Naming {
        let before = self.of(app);
        let after = match said {
            Ok(name) => Naming { name: Some(name), fault: None },
            Err(fault) => Naming { name: before.name.clone(), fault: Some(fault) },
        };
        self.known.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            known.insert(app.clone(), after.clone());
            Arc::new(known)
        });
        if after.name != before.name {
            self.changed.notify_one();
        }
        before
    }

    /// What is known of an app.
    pub fn of(&self, app: &AppName) -> Naming {
        self.known.load().get(app).cloned().unwrap_or_default()
    }

    /// The names that are known.
    pub fn all(&self) -> BTreeMap<AppName, String> {
        let known = self.known.load();
        known.iter().filter_map(|(app, naming)| Some((app.clone(), naming.name.clone()?))).collect()
    }

    /// Returns after a name was learned or has changed. For one caller.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Has all apps asked again, now.
    pub fn ask_again(&self) {
        self.asked_again.notify_waiters();
    }

    pub(crate) async fn asked_again(&self) {
        self.asked_again.notified().await;
    }
}
