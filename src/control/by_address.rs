//! What all apps share of an instance's address.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::Thresholds;
use crate::config::Config;
use crate::control::tls::Trust;
use crate::gateway::Instance;
use crate::gateway::state::member::Member;
use crate::gateway::state::survivors::Survivors;
use crate::gateway::state::tls::instance::InstanceTls;
use crate::model::{Address, Queue};

/// What all apps share of an address. Where they differ, the smallest value stands; the check of
/// the configuration warns of it.
pub(super) struct Shared {
    pub(super) instance: Arc<Instance>,
    tls: Option<Arc<InstanceTls>>,
    slots: u32,
    runs: Option<u32>,
    pub(super) thresholds: Thresholds,
    pub(super) queue: Queue,
}

impl Shared {
    /// Whether a member that runs has it already.
    pub(super) fn fits(&self, member: &Member) -> bool {
        Arc::ptr_eq(&self.instance, &member.instance)
            && self.thresholds == member.thresholds
            && self.queue == member.queue
            && self.runs == member.instance.runs().limit()
    }
}

pub(super) struct Instances {
    pub(super) by_address: HashMap<Address, Shared>,
}

impl Instances {
    /// Those of `config`; those that survive are taken over.
    ///
    /// # Errors
    /// What an instance's certificates are checked with cannot be read.
    pub(super) fn of(config: &Config, survivors: &Survivors<'_>) -> Result<Self, String> {
        let mut trust = Trust::default();
        let mut by_address: HashMap<_, Shared> = HashMap::new();
        for written in config.instances() {
            let fail_timeout_ms = u64::try_from(written.fail_timeout.as_millis());
            let fail_timeout_ms = fail_timeout_ms.unwrap_or(u64::MAX >> 2);
            let address = &written.address;
            let shared = match by_address.get_mut(address) {
                Some(known) => known,
                None => {
                    let tls = trust.of(written)?;
                    by_address.entry(address.clone()).or_insert(Shared {
                        tls,
                        instance: survivors.instances.get(address).cloned().unwrap_or_else(|| {
                            Arc::new(Instance::new(address.clone(), written.max_concurrent))
                        }),
                        slots: u32::MAX,
                        runs: None,
                        thresholds: Thresholds { max_fails: u32::MAX, fail_timeout_ms: u64::MAX },
                        queue: written.queue,
                    })
                }
            };
            shared.slots = shared.slots.min(written.max_concurrent);
            shared.runs = [shared.runs, written.max_runs].into_iter().flatten().min();
            let thresholds = &mut shared.thresholds;
            thresholds.max_fails = thresholds.max_fails.min(written.max_fails);
            thresholds.fail_timeout_ms = thresholds.fail_timeout_ms.min(fail_timeout_ms);
            shared.queue.size = shared.queue.size.min(written.queue.size);
            shared.queue.timeout = shared.queue.timeout.min(written.queue.timeout);
            shared.queue.run_timeout = shared.queue.run_timeout.min(written.queue.run_timeout);
        }
        Ok(Self { by_address })
    }

    /// Gives instances that survived their new number of slots, and all the TLS that they speak.
    pub(super) fn settle(&self) {
        for shared in self.by_address.values() {
            shared.instance.set_tls(shared.tls.clone());
            shared.instance.runs().set_limit(shared.runs);
            if shared.instance.slots().limit() != shared.slots {
                shared.instance.slots().resize(shared.slots);
            }
        }
    }
}
