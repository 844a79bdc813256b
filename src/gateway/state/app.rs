//! An app: its instances, its rules and how AI clients see it.

use std::hint::black_box;
use std::sync::Arc;

use crate::gateway::state::ai_settings::Settings;
use crate::gateway::state::app_stats::AppStats;
use crate::gateway::state::policy::Policy;
use crate::gateway::state::pool::Pool;
use crate::model::AppName;

/// An app and its instances; what each request needs stands in its first two lines of the
/// processor's cache (`repr(C)`), as in [`Member`].
#[derive(Debug)]
#[repr(C)]
pub struct App {
    /// Its counters; they survive a reload by name.
    pub stats: Arc<AppStats>,
    /// Its instances.
    pub pool: Pool,
    /// What it does when something goes wrong.
    pub policy: Policy,
    /// Its key in the configuration.
    pub name: AppName,
    /// How OpenAI and Anthropic clients see it.
    pub doors: Settings,
}

impl App {
    /// Whether its clients may use the knowledge API: all of its instances have a key for that, or none
    /// has.
    pub(crate) fn opens_datasets(&self) -> bool {
        self.pool.members.iter().all(|member| member.datasets.is_some())
    }

    /// Begins to read what a request will need of it, all at once: of thousands of apps each is far
    /// from the processor, and so it waits once instead of at each step.
    pub(crate) fn fetch(&self) {
        black_box((self.policy.storage, self.name.as_str().as_bytes().first().copied()));
    }

    /// The same for what its answer will need.
    pub(crate) fn fetch_counted(&self) {
        black_box((self.policy.storage, self.stats.budget.left()));
    }
}
