//! The connections that an instance may have from us.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connections an instance may have from us, all workers together, idle ones included: a Dify
/// serves ten per worker process and lets the eleventh hang without an answer (every release from
/// 1.5 to 1.17, unless its `SERVER_WORKER_CONNECTIONS` says more).
#[derive(Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    limit: AtomicU32,
    /// Slots that a lowered limit takes away when they come back.
    owed: Arc<AtomicU32>,
}

impl Slots {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit as usize)),
            limit: AtomicU32::new(limit),
            owed: Arc::default(),
        }
    }

    /// The limit.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Slots in use now.
    pub fn used(&self) -> u32 {
        let free = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        let owed = self.owed.load(Ordering::Acquire);
        (self.limit() + owed).saturating_sub(free)
    }

    /// A slot, if one is free and nobody waits for it.
    pub fn try_take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.slot(permit))
    }

    /// A slot, when one comes free; first come, first served.
    pub async fn take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.slot(permit))
    }

    /// Changes the limit. Slots in use stay in use; those above a lower limit go when given back.
    /// Only one caller at a time: a reload.
    pub fn resize(&self, limit: u32) {
        let old = self.limit.swap(limit, Ordering::AcqRel);
        if limit >= old {
            let mut more = limit - old;
            let paid = |owed: u32| Some(owed.saturating_sub(more));
            if let Ok(owed) = self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, paid) {
                more -= owed.min(more);
            }
            self.free.add_permits(more as usize);
        } else {
            let fewer = (old - limit) as usize;
            let gone = self.free.forget_permits(fewer);
            let owed = u32::try_from(fewer - gone).unwrap_or(u32::MAX);
            self.owed.fetch_add(owed, Ordering::AcqRel);
        }
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        Slot { permit: Some(permit), owed: Arc::clone(&self.owed) }
    }
}

/// One connection's slot, free again when dropped. The connection holds it, idle or busy.
#[derive(Debug)]
pub struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    owed: Arc<AtomicU32>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let one_less = |owed: u32| owed.checked_sub(1);
        let owed = self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok();
        if let (true, Some(permit)) = (owed, self.permit.take()) {
            permit.forget();
        }
    }
}
