//! What the gateway knows about one Dify, whichever apps and snapshots refer to it.
//!
//! An instance is its address: apps that name the same address share its slots, its breaker and its
//! connections, and all of that survives a reload. A changed address starts cold.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use http::uri::Authority;
use tokio::net::lookup_host;

use crate::balance::{Breaker, KeyedStall};
use crate::gateway::state::runs::Runs;
use crate::gateway::state::slots::Slots;
use crate::gateway::state::tls::instance::InstanceTls;
use crate::model::{Address, Scheme};
use crate::telemetry::{Counter, Gauge, Histogram};

/// The socket addresses to try, in order. A name is asked for again at each connection, so a
/// container that moved is found.
///
/// # Errors
/// The name does not resolve.
pub(crate) async fn resolve(address: &Address) -> std::io::Result<Vec<SocketAddr>> {
    match address.host.parse::<IpAddr>() {
        Ok(ip) => Ok(vec![SocketAddr::new(ip, address.port)]),
        Err(_) => Ok(lookup_host((address.host.as_str(), address.port)).await?.collect()),
    }
}

/// One Dify.
#[derive(Debug)]
pub struct Instance {
    id: u64,
    address: Address,
    authority: Option<Authority>,
    /// Whether what stands there is a server for several names or paths, which goes by the host.
    goes_by_host: bool,
    /// How TLS is spoken with it, where its address says so.
    tls: ArcSwapOption<InstanceTls>,
    slots: Slots,
    breaker: Breaker,
    in_flight: Gauge,
    waiting: AtomicU32,
    idle: AtomicU32,
    held: AtomicU32,
    queued: Counter,
    last_failure: ArcSwapOption<String>,
    ejections: Counter,
    renewed_ms: AtomicU64,
    version: ArcSwapOption<String>,
    probes: ProbeStats,
    runs: Runs,
    silence: KeyedStall,
}

/// What is counted of the probes of an address, whichever apps they are for.
#[derive(Debug, Default)]
pub struct ProbeStats {
    /// Probes that ended, by [`ProbeVerdict`](crate::balance::ProbeVerdict).
    pub by_verdict: [Counter; 3],
    /// From the beginning of a probe to its response.
    pub duration: Histogram,
    /// How often they took the instance out or brought it back.
    pub changes: Counter,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Instance {
    /// An instance that nothing is known about yet, with `slots` connections.
    pub fn new(address: Address, slots: u32) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            authority: address.authority().parse().ok(),
            goes_by_host: address.scheme == Scheme::Https || !address.base_path.is_empty(),
            tls: ArcSwapOption::empty(),
            address,
            slots: Slots::new(slots),
            breaker: Breaker::default(),
            in_flight: Gauge::default(),
            waiting: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            held: AtomicU32::new(0),
            queued: Counter::default(),
            last_failure: ArcSwapOption::empty(),
            ejections: Counter::default(),
            renewed_ms: AtomicU64::new(0),
            version: ArcSwapOption::empty(),
            probes: ProbeStats::default(),
            runs: Runs::new(),
            silence: KeyedStall::default(),
        }
    }

    /// A number that no other instance of this process has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// `host:port`, for a request without a host of its own.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Whether it is told its own host, and not the one that the client named: behind TLS or a path stands a
    /// server for several names.
    pub(crate) fn goes_by_host(&self) -> bool {
        self.goes_by_host
    }

    /// How TLS is spoken with it; none where it is not.
    pub(crate) fn tls(&self) -> Option<Arc<InstanceTls>> {
        self.tls.load_full()
    }

    /// Speaks TLS so from the next connection on.
    pub fn set_tls(&self, tls: Option<Arc<InstanceTls>>) {
        self.tls.store(tls);
    }

    /// Its connection slots.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Its passive judgement.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Streamed flows there.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Whether it still answers requests with a key.
    pub fn silence(&self) -> &KeyedStall {
        &self.silence
    }

    /// Requests under way.
    pub fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// How often it was taken out of rotation.
    pub fn ejections(&self) -> u64 {
        self.ejections.get()
    }

    /// What went wrong last, for an operator.
    pub fn last_failure(&self) -> Option<Arc<String>> {
        self.last_failure.load_full()
    }

    /// Notes what went wrong, for an operator.
    pub(crate) fn failed(&self, what: &str) {
        self.last_failure.store(Some(Arc::new(what.to_owned())));
    }

    /// Counts that it was taken out, or stays out for another term, and why.
    pub(crate) fn ejected(&self, what: &str) {
        self.failed(what);
        self.ejections.add_one();
    }

    /// When it last answered a probe after one that had failed, in ms: what is there since then is not
    /// what was judged before.
    pub(crate) fn renewed_ms(&self) -> u64 {
        self.renewed_ms.load(Ordering::Relaxed)
    }

    /// Notes that it has answered a probe after one that had failed.
    pub(crate) fn renewed(&self, now_ms: u64) {
        self.renewed_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Its probes' counters.
    pub fn probes(&self) -> &ProbeStats {
        &self.probes
    }

    /// Dify's version, as its responses' `X-Version` gave it to a probe.
    pub fn version(&self) -> Option<Arc<String>> {
        self.version.load_full()
    }

    /// Takes the `X-Version` of a response; what does not look like a version is not believed.
    pub(crate) fn learn_version(&self, version: &str) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte);
        let known = self.version.load();
        let same = known.as_ref().is_some_and(|known| known.as_str() == version);
        if !same && (1..=32).contains(&version.len()) && version.bytes().all(fits) {
            self.version.store(Some(Arc::new(version.to_owned())));
        }
    }

    /// Requests that wait for a slot.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Requests that had to wait for a connection, since the start.
    pub fn queued(&self) -> u64 {
        self.queued.get()
    }

    /// Counts a request that had to wait, and not only for an idle connection to give way.
    pub(crate) fn count_queued(&self) {
        self.queued.add_one();
    }

    /// Whether whoever takes a slot now will find all others busy with our own requests. A late
    /// answer then says nothing: the instance may serve less than it was said to. Whoever began
    /// while there was room had a place in it.
    pub(crate) fn room(&self) -> Headroom {
        let busy = self.slots.used().saturating_sub(self.idle.load(Ordering::Acquire));
        let limit = self.slots.limit();
        if limit > 1 && busy + 1 >= limit { Headroom::Last } else { Headroom::Enough }
    }

    /// Counts a connection as idle for as long as the mark is kept.
    pub(crate) fn mark_idle(self: &Arc<Self>) -> IdleGuard {
        self.idle.fetch_add(1, Ordering::AcqRel);
        IdleGuard(Arc::clone(self))
    }

    /// Slots that streams hold which have ended for their clients: Dify has not freed their places.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Acquire)
    }

    /// Whether such streams hold all its slots: none comes free for up to 300 s.
    pub(crate) fn is_all_held(&self) -> bool {
        let held = self.held();
        held > 0 && held >= self.slots.limit()
    }

    /// Counts a slot as held for as long as the mark is kept.
    pub(crate) fn mark_held(self: &Arc<Self>) -> HeldGuard {
        self.held.fetch_add(1, Ordering::AcqRel);
        HeldGuard(Arc::clone(self))
    }

    /// Joins the queue for a slot unless `limit` requests are in it already. Who waits only for an
    /// idle connection on another worker to give way is not counted.
    pub fn enter_queue(self: &Arc<Self>, limit: u32) -> Option<QueueGuard> {
        let limit = limit.saturating_add(self.idle.load(Ordering::Acquire));
        let room = |waiting| (waiting < limit).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        Some(QueueGuard(Arc::clone(self)))
    }
}

/// What of an instance is left beside our own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headroom {
    /// One slot of several, or none.
    Last,
    Enough,
}

/// An idle connection, counted until dropped.
pub(crate) struct IdleGuard(Arc<Instance>);

impl Drop for IdleGuard {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A held slot, counted until dropped.
pub(crate) struct HeldGuard(Arc<Instance>);

impl Drop for HeldGuard {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A place in an instance's queue, given up when dropped.
pub struct QueueGuard(Arc<Instance>);

impl Drop for QueueGuard {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Instance;
    use crate::model::{Address, Scheme};

    fn instance(slots: u32) -> Arc<Instance> {
        Arc::new(Instance::new(
            Address {
                host: "::1".into(),
                port: 5001,
                scheme: Scheme::Http,
                base_path: String::new(),
            },
            slots,
        ))
    }

    #[test]
    fn a_lowered_limit_takes_slots_away_as_they_come_back() {
        let instance = instance(3);
        let slots = instance.slots();
        let taken: Vec<_> = (0..3).filter_map(|_| slots.try_take()).collect();
        assert!(slots.try_take().is_none());
        slots.resize(1);
        assert_eq!((slots.limit(), slots.used()), (1, 3));
        drop(taken);
        assert_eq!(slots.used(), 0);
        let one = slots.try_take();
        assert!(one.is_some() && slots.try_take().is_none());
    }

    #[test]
    fn a_raised_limit_first_pays_what_a_lowered_one_owes() {
        let instance = instance(4);
        let slots = instance.slots();
        let taken: Vec<_> = (0..4).filter_map(|_| slots.try_take()).collect();
        slots.resize(1);
        slots.resize(3);
        drop(taken);
        assert_eq!((0..9).map_while(|_| slots.try_take()).collect::<Vec<_>>().len(), 3);
    }

    #[test]
    fn the_queue_is_bounded_and_a_place_comes_back() {
        let instance = instance(1);
        let places: Vec<_> = (0..3).map_while(|_| instance.enter_queue(2)).collect();
        assert_eq!((places.len(), instance.waiting()), (2, 2));
        drop(places);
        assert!(instance.enter_queue(2).is_some());
    }

    #[test]
    fn an_ipv6_address_is_written_with_brackets() {
        assert_eq!(instance(1).authority().unwrap().as_str(), "[::1]:5001");
    }
}
