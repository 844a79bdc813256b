//! Probes as they are written to those that run: equal ones are one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method};

use crate::balance::{HealthThresholds, ProbeTiming};
use crate::config::{self, ProbeMethod};
use crate::gateway::{Instance, Probe, ProbeTarget};
use crate::model::Address;

type ByProbe = HashMap<(Address, Probe), Arc<ProbeTarget>>;

/// The probes of a snapshot that is being built.
pub(super) struct Probes {
    known: ByProbe,
    named: HashMap<*const ProbeTarget, Arc<ProbeTarget>>,
}

impl Probes {
    /// None named yet; `earlier` ones are taken over when they are.
    pub(super) fn new(earlier: ByProbe) -> Self {
        Self { known: earlier, named: HashMap::new() }
    }

    /// The probe of an instance; none if it is switched off.
    ///
    /// # Errors
    /// What the check of the configuration refuses already.
    pub(super) fn of(
        &mut self,
        instance: &Arc<Instance>,
        written: &config::Instance,
    ) -> Result<Option<Arc<ProbeTarget>>, String> {
        if !written.probe.enabled {
            return Ok(None);
        }
        let probe = probe(written)
            .ok_or_else(|| format!("the probe of `{}` cannot be sent", written.name))?;
        let key = (written.address.clone(), probe);
        let probed = self.known.entry(key).or_insert_with_key(|key| {
            Arc::new(ProbeTarget::new(Arc::clone(instance), key.1.clone()))
        });
        let probed = Arc::clone(probed);
        let key = Some(written.token.expose()).filter(|key| !key.is_empty());
        if let Some(key) = key.and_then(|key| secret(&format!("Bearer {key}"))) {
            probed.set_key(key);
        }
        self.keep(&probed);
        Ok(Some(probed))
    }

    pub(super) fn keep(&mut self, probed: &Arc<ProbeTarget>) {
        self.named.entry(Arc::as_ptr(probed)).or_insert_with(|| Arc::clone(probed));
    }

    /// All that were named, each once.
    pub(super) fn into_all(self) -> Vec<Arc<ProbeTarget>> {
        self.named.into_values().collect()
    }
}

fn probe(instance: &config::Instance) -> Option<Probe> {
    let written = &instance.probe;
    let mut headers = Vec::new();
    if written.with_key {
        let bearer = format!("Bearer {}", instance.token.expose());
        headers.push((AUTHORIZATION, secret(&bearer)?));
    }
    for (name, value) in &written.headers {
        headers.push((name.parse::<HeaderName>().ok()?, secret(value.expose())?));
    }
    Some(Probe {
        path: written.path.parse().ok()?,
        method: match written.method {
            ProbeMethod::Get => Method::GET,
            ProbeMethod::Head => Method::HEAD,
            ProbeMethod::Options => Method::OPTIONS,
        },
        headers,
        rhythm: ProbeTiming {
            interval_ms: millis(written.interval),
            fast_interval_ms: millis(written.fast_interval),
        },
        timeout: written.timeout,
        rules: HealthThresholds { rise: written.rise, fall: written.fall },
        expect: written.expect.clone(),
        expect_body: written.expect_body.clone(),
    })
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
