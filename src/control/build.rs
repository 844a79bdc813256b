//! Config (and what an older snapshot leaves) to Snapshot.

mod everyone;
mod services;

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::sync::Arc;

use http::HeaderName;
use indexmap::IndexMap;
use jiff::Timestamp;
use smallvec::SmallVec;

use crate::background;
use crate::balance::{MaxLoad, Method, Rendezvous, Ring, RoundRobin, StatusSet};
use crate::config::{self, BodiesMemory, Config, ConsistentHash};
use crate::control::by_address::Instances;
use crate::control::host;
use crate::control::labels::Labels;
use crate::control::probes::Probes;
use crate::control::tls::listener;
use crate::gateway::http::body_memory::BodyMemory;
use crate::gateway::http::limits::Limits;
use crate::gateway::state::ai_settings::{AiSettings, UserJwt};
use crate::gateway::state::app::App;
use crate::gateway::state::member::{Bearer, Drain, Member};
use crate::gateway::state::member_stats::MemberStats;
use crate::gateway::state::policy::{Executed, Policy, Resuming, Retry};
use crate::gateway::state::pool::Pool;
use crate::gateway::state::snapshot::Snapshot;
use crate::gateway::state::survivors::{Survivors, removed_instances};
use crate::gateway::{ConversationLocks, EjectionGuard, Key, Models, TokenTable};
use crate::model::{AppName, InstanceName, Token};

/// What runs while a snapshot is built.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// What it was built of.
    pub config: &'a Config,
    /// What was built.
    pub snapshot: &'a Snapshot,
}

/// Builds the snapshot of a configuration. Apps that are the same `before` are shared with it, and
/// what it knows of the same instances and members of others is taken over; the rest starts cold.
///
/// # Errors
/// An app key cannot stand in a header; the check of the configuration refuses such keys already.
pub fn snapshot(config: &Config, before: Option<Before<'_>>) -> Result<Snapshot, String> {
    let old = before.map(|before| before.snapshot);
    let mut builder = Builder::new(config, before)?;
    let apps: Result<Vec<_>, _> =
        config.apps.iter().map(|(name, app)| builder.app(name, app)).collect();
    let apps = apps?;
    let anonymous = config.keys.iter().find(|key| key.secret.is_none());
    let everyone = builder.everyone(config)?;
    let services = builder.services(config)?;
    let tls = listener(config, old.and_then(|old| old.tls.as_ref()))?;
    let named = apps.iter().zip(config.apps.values()).filter(|(_, app)| app.named_by_dify);
    let named_by_dify = named.map(|(app, _)| Arc::clone(app)).collect();
    // From here on nothing can fail: instances are shared with what runs.
    builder.instances.settle();
    Ok(Snapshot {
        removed: old.map(|old| removed_instances(old, &apps)).unwrap_or_default(),
        apps,
        named_by_dify,
        tokens: TokenTable::new(keys(config)),
        anonymous: anonymous.map(|written| Arc::new(key(config, written))),
        models: models(config),
        everyone: Arc::new(everyone),
        services,
        probed: builder.probes.into_all(),
        tls,
        limits: limits(config),
        body_memory: BodyMemory {
            bodies: old.map(|old| Arc::clone(&old.body_memory.bodies)).unwrap_or_default(),
            limit: bodies_memory(config.limits.all_bodies_memory),
        },
        timeouts: config.timeouts,
        last_resort: config.last_resort,
        trusted_proxies: config.trusted_proxies.clone(),
        generation: old.map_or(0, |old| old.generation + 1),
        loaded_at: Timestamp::now(),
    })
}

/// The keys of clients, user tokens among them.
fn keys(config: &Config) -> Vec<(Token, Key)> {
    let mut tokens: IndexMap<&Token, SmallVec<[usize; 2]>> = IndexMap::new();
    for (place, app) in config.apps.values().enumerate() {
        for token in &app.user_tokens {
            tokens.entry(token).or_default().push(place);
        }
    }
    let tokens = tokens.into_iter().map(|(token, apps)| {
        let name = token.fingerprint().into();
        let key = Key {
            name,
            apps,
            is_user_token: true,
            is_admin: false,
            impersonates: false,
            trusted_proxy: false,
            user: None,
        };
        (token.clone(), key)
    });
    let keys = config.keys.iter();
    tokens
        .chain(keys.filter_map(|written| Some((written.secret.clone()?, key(config, written)))))
        .collect()
}

fn key(config: &Config, written: &config::Key) -> Key {
    let apps = match &written.apps {
        None => (0..config.apps.len()).collect(),
        Some(named) => {
            let places = named.iter().filter_map(|name| config.apps.get_index_of(name));
            places.collect::<BTreeSet<_>>().into_iter().collect()
        }
    };
    Key {
        name: written.name.as_str().into(),
        apps,
        is_user_token: false,
        is_admin: written.admin,
        impersonates: written.impersonate,
        trusted_proxy: written.trusted_proxy,
        user: written.user.clone(),
    }
}

fn models(config: &Config) -> Models {
    Models::new(config.apps.iter().enumerate().flat_map(|(place, (name, app))| {
        let aliases = app.aliases.iter().map(String::as_str);
        let name = app.name_is_model.then_some(name.as_str());
        name.into_iter().chain(aliases).map(move |id| (id, place))
    }))
}

fn limits(config: &Config) -> Limits {
    let limits = config.limits;
    Limits {
        max_body_bytes: limits.max_body,
        client_body_bytes: config.apps.values().map(|app| app.ai.max_body).max().unwrap_or(0),
        memory_body_bytes: limits.memory_body,
        spool_dir: config.spool_dir.clone().unwrap_or_else(env::temp_dir),
        header_bytes: limits.header_bytes,
        headers: limits.headers,
        uri_bytes: limits.uri_bytes,
        h2_streams: limits.h2_streams,
        body_rate: limits.body_rate,
        min_answer_rate: limits.min_answer_rate,
        connections_per_address: limits.connections_per_address,
    }
}

/// In bytes. Where nobody can say how much memory there is, a share is of nothing known: no limit.
fn bodies_memory(written: BodiesMemory) -> u64 {
    match written {
        BodiesMemory::Bytes(bytes) => bytes,
        BodiesMemory::Percent(percent) => {
            host::memory_bytes().map_or(u64::MAX, |bytes| bytes / 100 * u64::from(percent))
        }
    }
}

fn policy(app: &config::App, turns: Option<&Arc<ConversationLocks>>) -> Policy {
    Policy {
        resume: match app.retry.resume {
            true => Resuming::On,
            false => Resuming::Off,
        },
        on_disconnect: app.on_disconnect,
        on_owner_down: app.on_owner_down,
        storage: app.storage,
        turns: app.one_turn_at_a_time.then(|| turns.cloned().unwrap_or_default()),
    }
}

fn retry(written: &config::Retry) -> Retry {
    Retry {
        attempts: written.attempts,
        budget: written.budget,
        statuses: StatusSet::new(written.statuses.iter().copied()),
        executed: match written.non_idempotent {
            true => Executed::Again,
            false => Executed::Once,
        },
    }
}

fn ai_settings(ai: &config::Ai) -> Result<AiSettings, String> {
    let header = |name: &String| {
        name.parse::<HeaderName>().map_err(|_| format!("`{name}` is not the name of a header"))
    };
    let jwt = |jwt: &config::UserJwt| {
        Ok::<_, String>(UserJwt { header: header(&jwt.header)?, secret: jwt.secret.clone() })
    };
    Ok(AiSettings {
        query_input: ai.query_input.clone(),
        answer_output: ai.answer_output.clone(),
        system: ai.system.clone(),
        reasoning: ai.reasoning,
        files: ai.files,
        human_input: ai.human_input,
        tasks: ai.tasks,
        task_words: ai.task_words.as_deref().map(lower),
        history: ai.history,
        users: ai.users,
        chat_id_headers: ai.chat_id_headers.iter().map(header).collect::<Result<_, _>>()?,
        user_headers: ai.user_headers.iter().map(header).collect::<Result<_, _>>()?,
        user_jwt: ai.user_jwt.as_ref().map(jwt).transpose()?,
        max_body_bytes: ai.max_body,
    })
}

fn lower(words: &[String]) -> Vec<String> {
    words.iter().map(|word| word.trim().to_lowercase()).collect()
}

/// What decides a ring: apps that agree in it share one.
type RingKey = (Vec<(InstanceName, u32)>, ConsistentHash);

fn weights(members: &[Arc<Member>]) -> Vec<(&str, u32)> {
    members.iter().map(|member| (member.name().as_str(), member.weight)).collect()
}

struct Builder<'a> {
    survivors: Survivors<'a>,
    /// What the survivors were built of, if all of it that apps take from the top is the same.
    earlier: Option<&'a Config>,
    instances: Instances,
    rings: HashMap<RingKey, Arc<Ring>>,
    probes: Probes,
    labels: Labels,
}

impl<'a> Builder<'a> {
    fn new(config: &Config, before: Option<Before<'a>>) -> Result<Self, String> {
        let mut survivors = before.map(|b| Survivors::of(b.snapshot)).unwrap_or_default();
        let probes = Probes::new(std::mem::take(&mut survivors.probed));
        let instances = Instances::of(config, &survivors)?;
        let labels = Labels::new(config.instance_header);
        let earlier = before.map(|before| before.config);
        let earlier = earlier.filter(|old| old.instance_header == config.instance_header);
        Ok(Self { survivors, earlier, instances, rings: HashMap::new(), probes, labels })
    }

    fn app(&mut self, name: &AppName, app: &Arc<config::App>) -> Result<Arc<App>, String> {
        background::give_way();
        if let Some(kept) = self.kept(name, app) {
            let kept = Arc::clone(kept);
            for probed in kept.pool.members.iter().filter_map(|member| member.probed.as_ref()) {
                self.probes.keep(probed);
            }
            return Ok(kept);
        }
        let counted = self.survivors.counted(name);
        let counted = app.instances.iter().map(|one| counted.get(&(&one.name, &one.address)));
        let counted = counted.map(Option::<&Arc<MemberStats>>::cloned);
        let counted: Vec<_> = counted.map(Option::unwrap_or_default).collect();
        let judgement = self.judgement(name, app, &counted);
        let members = app.instances.iter().zip(counted);
        let members: Result<Vec<_>, _> =
            members.map(|(one, stats)| self.member(one, judgement.clone(), stats)).collect();
        let members = members?;
        let old = self.survivors.apps.get(name).copied();
        let method = self.method(&members, (app.method, app.consistent_hash));
        let max_load = match app.max_load {
            config::MaxLoad::Off => None,
            config::MaxLoad::Thousandths(factor) => Some(MaxLoad::from_thousandths(factor)),
        };
        let stats = old.map(|old| Arc::clone(&old.stats)).unwrap_or_default();
        let pool_stats = old.map(|old| Arc::clone(&old.pool.stats)).unwrap_or_default();
        let how = (method, max_load);
        let pool = Arc::new(Pool::new(name.clone(), members, how, retry(&app.retry), pool_stats));
        let policy = policy(app, old.and_then(|old| old.policy.turns.as_ref()));
        let ai = ai_settings(&app.ai)?;
        Ok(Arc::new(App { name: name.clone(), pool, policy, ai, stats }))
    }

    /// The app as it runs, if nothing that it is made of has changed.
    fn kept(&self, name: &AppName, app: &Arc<config::App>) -> Option<&'a Arc<App>> {
        let same = self.earlier?.apps.get(name)? == app;
        let runs = *self.survivors.apps.get(name).filter(|_| same)?;
        // What is kept by address may have changed through another app.
        let mut members = runs.pool.members.iter();
        let fits = |member: &Arc<Member>| {
            let shared = self.instances.by_address.get(member.instance.address());
            shared.is_some_and(|shared| shared.fits(member))
        };
        members.all(fits).then_some(runs)
    }

    fn method(
        &mut self,
        members: &[Arc<Member>],
        (method, hash): (config::Method, ConsistentHash),
    ) -> Method {
        match method {
            config::Method::ConsistentHash => Method::ConsistentHash(self.ring(members, hash)),
            config::Method::IpHash => Method::IpHash(self.ring(members, hash)),
            config::Method::Rendezvous => {
                Method::Rendezvous(Rendezvous::new(&weights(members), hash.hash_algorithm).into())
            }
            config::Method::WeightedRoundRobin => {
                let weights: Vec<_> = members.iter().map(|member| member.weight).collect();
                Method::WeightedRoundRobin(RoundRobin::new(&weights).into())
            }
            config::Method::LeastConnections => Method::LeastConnections,
        }
    }

    fn judgement(
        &self,
        name: &AppName,
        app: &config::App,
        stats: &[Arc<MemberStats>],
    ) -> Judgement {
        let instance = |written: &config::Instance| {
            Arc::clone(&self.instances.by_address[&written.address].instance)
        };
        let mates = app.instances.iter().map(instance).zip(stats.iter().cloned()).collect();
        Judgement {
            fail_statuses: StatusSet::new(app.fail_statuses.iter().copied()),
            pool_mates: Arc::new(EjectionGuard::new(name.clone(), mates, app.max_ejected_percent)),
        }
    }

    fn member(
        &mut self,
        written: &config::Instance,
        judgement: Judgement,
        stats: Arc<MemberStats>,
    ) -> Result<Arc<Member>, String> {
        let bearer = |token: &Token| {
            let refused = || format!("the token of `{}` cannot stand in a header", written.name);
            Bearer::new(token).ok_or_else(refused)
        };
        let authorization = Some(bearer(&written.token)?);
        // Dify's keys say what they are for, and one of the knowledge API may stand alone.
        let is_of_datasets = |token: &&Token| token.expose().starts_with("dataset-");
        let datasets =
            written.dataset_token.as_ref().or_else(|| Some(&written.token).filter(is_of_datasets));
        let datasets = datasets.map(bearer).transpose()?.map(Box::new);
        let keyless = self.keyless(written, judgement, stats)?;
        Ok(Arc::new(Member { authorization, datasets, ..keyless }))
    }

    fn keyless(
        &mut self,
        written: &config::Instance,
        judgement: Judgement,
        stats: Arc<MemberStats>,
    ) -> Result<Member, String> {
        let shared = &self.instances.by_address[&written.address];
        Ok(Member {
            label: self.labels.of(&written.name),
            instance: Arc::clone(&shared.instance),
            authorization: None,
            datasets: None,
            web_url: written.web_url.as_deref().map(Arc::from),
            weight: written.weight,
            thresholds: shared.thresholds,
            fail_statuses: judgement.fail_statuses,
            pool_mates: judgement.pool_mates,
            probed: self.probes.of(&shared.instance, written)?,
            slow_start_ms: u64::try_from(written.slow_start.as_millis()).unwrap_or(u64::MAX),
            files_url: written.files_url.as_deref().map(Arc::from),
            drain: if written.drain { Drain::Yes } else { Drain::No },
            queue: shared.queue,
            stats,
        })
    }

    fn ring(&mut self, members: &[Arc<Member>], hash: ConsistentHash) -> Arc<Ring> {
        let key = (members.iter().map(|m| (m.name().clone(), m.weight)).collect(), hash);
        let ring = self.rings.entry(key).or_insert_with(|| {
            Arc::new(Ring::new(&weights(members), hash.virtual_nodes, hash.hash_algorithm))
        });
        Arc::clone(ring)
    }
}

/// What the members of an app share of its judgement.
#[derive(Clone)]
struct Judgement {
    fail_statuses: StatusSet,
    pool_mates: Arc<EjectionGuard>,
}

#[cfg(test)]
mod tests;
