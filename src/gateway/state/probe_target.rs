//! What is probed, how, and what the probes have said.
//!
//! Members whose address and probe are equal share one [`ProbeTarget`], so an address is asked once
//! however many apps use it. It survives a reload by the same two: a changed probe starts afresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use crate::balance::{Health, HealthChange, HealthThresholds, ProbeTiming, ProbeVerdict};
use crate::gateway::state::instance::Instance;
use crate::model::ProbeExpect;

/// One kind of probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// What is asked for.
    pub path: PathAndQuery,
    /// How.
    pub method: Method,
    /// Sent with it, values marked sensitive; the app's key may be among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How often.
    pub rhythm: ProbeTiming,
    /// For the whole of a probe.
    pub timeout: Duration,
    /// How many decide.
    pub rules: HealthThresholds,
    /// What a good response is.
    pub expect: ProbeExpect,
    /// What a good response holds in its first 64 KiB.
    pub expect_body: Option<String>,
}

/// An instance and one kind of probe.
#[derive(Debug)]
pub struct ProbeTarget {
    id: u64,
    instance: Arc<Instance>,
    probe: Probe,
    health: Health,
    last: ArcSwapOption<LastProbe>,
    /// `Bearer` and the key of an app there.
    key: ArcSwapOption<HeaderValue>,
    /// Requests with a key get no response, and only one that does ends that.
    is_silent: AtomicBool,
}

/// The last probe.
#[derive(Debug)]
pub struct LastProbe {
    /// `200 in 1.2 ms`, or what went wrong; it holds no secret.
    pub text: String,
    /// When it ended, in ms.
    pub at_ms: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl ProbeTarget {
    /// Nothing has been asked yet.
    pub fn new(instance: Arc<Instance>, probe: Probe) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            instance,
            probe,
            health: Health::new(0),
            last: ArcSwapOption::empty(),
            key: ArcSwapOption::empty(),
            is_silent: AtomicBool::new(false),
        }
    }

    /// A number that no other of this process has or had.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What is probed.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// How it is probed.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// What the probes say.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The last probe, if there was one.
    pub fn last(&self) -> Option<Arc<LastProbe>> {
        self.last.load_full()
    }

    /// Sends this with a probe that asks whether requests with a key are answered.
    pub fn set_key(&self, key: HeaderValue) {
        self.key.store(Some(Arc::new(key)));
    }

    /// The key to ask with, if it is time to: requests with one may hang while all others are answered.
    /// Where the usual probes fail there is nothing to find out.
    pub(crate) fn key_to_ask_with(&self, now_ms: u64) -> Option<Arc<HeaderValue>> {
        let is_suspicious = || {
            let last_was_bad = self.health.standing().last_was_bad;
            !last_was_bad && self.instance.silence().is_suspicious(now_ms)
        };
        if self.is_silent.load(Ordering::Acquire) || is_suspicious() {
            return self.key.load_full();
        }
        None
    }

    /// Whether clients' own requests say that those with a key get no response. For where there is no
    /// connection left to ask by.
    pub(crate) fn is_certainly_silent(&self, now_ms: u64) -> bool {
        let silence = self.instance.silence();
        silence.is_certain() && silence.is_suspicious(now_ms)
    }

    /// Requests with a key get no response.
    pub(crate) fn found_silent(&self) {
        self.is_silent.store(true, Ordering::Release);
    }

    pub(crate) fn found_answering(&self, now_ms: u64) {
        self.is_silent.store(false, Ordering::Release);
        self.instance.silence().answered(now_ms);
    }

    /// Takes the end of a probe: judges, counts, and logs what has changed.
    pub(crate) fn settle(&self, verdict: ProbeVerdict, text: String, now_ms: u64) {
        let stats = self.instance.probes();
        stats.by_verdict[verdict as usize].add_one();
        let (address, path) = (self.instance.address(), &self.probe.path);
        let was_bad = self.health.standing().last_was_bad;
        let change = self.health.settle(verdict, self.probe.rules, now_ms);
        let breaker = self.instance.breaker();
        let ends_ejection = match (verdict, was_bad) {
            (ProbeVerdict::Good, true) => {
                self.instance.renewed(now_ms);
                breaker.probed_anew(now_ms)
            }
            (ProbeVerdict::Good, false) => breaker.probed_well(now_ms),
            (ProbeVerdict::Bad | ProbeVerdict::Busy, _) => false,
        };
        match change {
            Some(HealthChange::WentDown) => {
                stats.changes.add_one();
                tracing::warn!("instance {address} is out of rotation: its probe {path}: {text}");
            }
            Some(HealthChange::CameBack) => {
                stats.changes.add_one();
                tracing::info!("instance {address} is back in rotation: its probe {path}: {text}");
            }
            None if ends_ejection => {
                tracing::info!("instance {address} is back in rotation: its probe was answered");
            }
            None => {}
        }
        self.last.store(Some(Arc::new(LastProbe { text, at_ms: now_ms })));
    }
}
