//! What the request path knows: built whole by `control`, then never changed.
//!
//! A request loads one snapshot, once, and keeps it to its end, so it never sees two configurations.
//! What must survive a reload (instances, counters) is shared between snapshots by pointer.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::balance::{AttemptOrder, Budget, LoadBound, MaxLoad, Method};
use crate::gateway::bodies::Room;
use crate::gateway::departed::Departed;
use crate::gateway::doors::settings::Settings;
use crate::gateway::instance::Instance;
use crate::gateway::locate::Searches;
use crate::gateway::member::{Member, MemberStats};
use crate::gateway::models::Models;
use crate::gateway::policy::Policy;
use crate::gateway::probed::{Probe, Probed};
use crate::gateway::runs::AppKind;
use crate::gateway::tls::ListenerTls;
use crate::gateway::tokens::{Key, TokenTable};
use crate::model::{Address, AppName, InstanceName};
use crate::telemetry::{Counter, Histogram};

/// One configuration, ready for requests.
#[derive(Debug)]
pub struct Snapshot {
    /// Apps in the order of the configuration.
    pub apps: Vec<Arc<App>>,
    /// The keys of clients, and the places in `apps` that they open.
    pub tokens: TokenTable,
    /// The key of requests that bring none, or one that nobody knows; none: they are refused.
    pub anonymous: Option<Arc<Key>>,
    /// Model ids to places in `apps`.
    pub models: Models,
    /// Every instance once, without tokens, for `GET /v1/`, which Dify answers without a key.
    pub everyone: Arc<App>,
    /// Everything that is probed, once.
    pub probed: Vec<Arc<Probed>>,
    /// Instances that earlier configurations had and that may still have requests.
    pub departed: Vec<Departed>,
    /// How TLS is spoken with clients; none: it is not.
    pub tls: Option<ListenerTls>,
    /// Limits on requests.
    pub limits: Limits,
    /// The memory of all request bodies; what they hold survives a reload.
    pub room: Room,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Whether instances that are out are tried when all are.
    pub last_resort: LastResort,
    /// Proxies whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many configurations came before this one.
    pub generation: u64,
    /// When it was built.
    pub loaded_at: Timestamp,
}

impl Snapshot {
    /// Every instance of every app, once.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.everyone.pool.members.iter().map(|member| &member.instance)
    }

    /// Whether `address` is a proxy whose headers are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}

/// Bounds on what a client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request body, in bytes.
    pub max_body_bytes: u64,
    /// The body of an AI client's request, before its app is known: as much as any app takes.
    pub client_body_bytes: u64,
    /// What of a body is kept in memory; the rest goes to `spool_dir`.
    pub memory_body_bytes: u64,
    /// Where larger bodies are spooled.
    pub spool_dir: PathBuf,
    /// A request's line and headers, in bytes.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// A request's URI, in bytes.
    pub uri_bytes: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub h2_streams: u32,
    /// The least that a body must come with on average, in bytes per second, after
    /// [`Timeouts::body`]; 0: nothing is asked.
    pub body_rate: u64,
    /// The least that a client must take of an answer on average, in bytes per second; 0: nothing is
    /// asked.
    pub min_answer_rate: u64,
    /// Connections of one client's address at once.
    pub connections_per_address: Option<u32>,
}

/// How long to wait for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to an instance, with the TLS handshake.
    pub connect: Duration,
    /// For the head of an answer to GET and HEAD, while another candidate is left.
    pub first_byte_idempotent: Duration,
    /// For the head of any other answer.
    pub first_byte: Duration,
    /// For the head of an answer over all attempts, waiting for a slot included.
    pub all_attempts: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For the first event of a streamed flow.
    pub run_start: Duration,
    /// From the first byte of a request's head to its last, and for a TLS handshake.
    pub header: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// For a client to take the next byte of its answer.
    pub write: Duration,
    /// A client's connection between two requests.
    pub keep_alive: Duration,
}

/// What happens when every instance of an app is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastResort {
    /// They are tried anyway, in the request's own order.
    Try,
    /// 503 with `Retry-After`.
    Refuse,
}

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
    pub(super) fn opens_datasets(&self) -> bool {
        self.pool.members.iter().all(|member| member.datasets.is_some())
    }

    /// Begins to read what a request will need of it, all at once: of thousands of apps each is far
    /// from the processor, and so it waits once instead of at each step.
    pub(super) fn fetch(&self) {
        black_box((self.policy.storage, self.name.as_str().as_bytes().first().copied()));
    }

    /// The same for what its answer will need.
    pub(super) fn fetch_counted(&self) {
        black_box((self.policy.storage, self.stats.budget.left()));
    }
}

/// What is counted for an app; what changes with each request is one line of the processor's cache
/// (`repr(C)`), as in [`MemberStats`], and is touched when the answer is there.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct AppStats {
    /// Answers and refusals by hundreds of their status, 1xx to 5xx.
    pub by_class: [Counter; 5],
    /// What is left of the retry budget.
    pub budget: Budget,
    /// From a request's head to the end of its answer.
    pub duration: Histogram,
    /// Attempts at a further instance after a failed one.
    pub retries: Counter,
    /// Attempts that the budget did not allow.
    pub retries_refused: Counter,
    /// Attempts at a further instance because one does not have what the request names.
    pub asked_around: Counter,
    /// Conversations that were found by asking all instances.
    pub located: Counter,
    /// Conversations that none of them has.
    pub located_nobody: Counter,
    /// Answers to a turn that name another conversation than the turn did.
    pub wrong_conversation: Counter,
    /// Turns that waited because their user was new to the instance.
    pub waited_for_first: Counter,
    /// Searches that are under way.
    pub searches: Searches,
    /// Runs that were stopped because their client went away.
    pub stopped: Counter,
    /// Streamed runs whose client went away before their task was known.
    pub left_before_task: Counter,
    /// Answers that were read to their end because their client went away.
    pub drained: Counter,
    /// Whether its runs are flows.
    pub(super) kind: AppKind,
}

impl AppStats {
    /// Requests that named this app and have ended.
    pub fn requests(&self) -> u64 {
        self.by_class.iter().map(Counter::get).sum()
    }
}

/// The instances of an app and the way they are chosen.
#[derive(Debug)]
#[repr(C)]
pub struct Pool {
    /// In the order of the configuration.
    pub members: Box<[Arc<Member>]>,
    /// How they are chosen.
    pub method: Method,
    /// How far above its fair share one may be when a free request comes.
    pub max_load: Option<MaxLoad>,
    turn: AtomicU32,
}

impl Pool {
    /// A pool; the method must have been built over the same members.
    pub fn new(members: Vec<Arc<Member>>, method: Method, max_load: Option<MaxLoad>) -> Self {
        Self { members: members.into(), method, max_load, turn: AtomicU32::new(0) }
    }

    /// The order in which a request of `key` tries the members.
    pub fn order(&self, key: Option<&[u8]>) -> AttemptOrder {
        let turn = || self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        AttemptOrder::new(&self.method, key, self.members.len(), turn)
    }

    /// The next member of an order that this pool gave; with a bound, the next that it admits.
    pub fn next(
        &self,
        order: &mut AttemptOrder,
        bound: Option<&LoadBound>,
    ) -> Option<&Arc<Member>> {
        let load = |index: usize| self.members[index].load();
        let index = match bound {
            None => order.next(&self.method, load),
            Some(bound) => order.next_within(bound, &self.method, load),
        };
        self.members.get(index?)
    }

    /// Whether any member is in rotation.
    pub fn is_any_in(&self) -> bool {
        self.members.iter().any(|member| member.is_in())
    }

    /// The bound of this instant. An instance that is out has no share: the others bear it.
    pub fn bound(&self, max_load: MaxLoad) -> LoadBound {
        let is_in = |member: &&Arc<Member>| member.is_in();
        LoadBound::new(max_load, self.members.iter().filter(is_in).map(|member| member.load()))
    }
}

/// What an earlier snapshot leaves to the next, by what it belongs to.
#[derive(Debug, Default)]
pub struct Survivors<'a> {
    /// By name.
    pub apps: HashMap<&'a AppName, &'a Arc<App>>,
    /// By address.
    pub instances: HashMap<Address, Arc<Instance>>,
    /// By address and probe.
    pub probed: HashMap<(Address, Probe), Arc<Probed>>,
    departed: HashMap<&'a AppName, Vec<Left<'a>>>,
}

type Left<'a> = (&'a InstanceName, Arc<Instance>, Arc<MemberStats>);

/// What is counted for the members of an app, by their name and address.
pub type Counted<'a> = HashMap<(&'a InstanceName, &'a Address), Arc<MemberStats>>;

impl<'a> Survivors<'a> {
    /// What `old` leaves to the next snapshot.
    pub fn of(old: &'a Snapshot) -> Self {
        let mut survivors = Self::default();
        for departed in &old.departed {
            let Some(instance) = departed.instance() else { continue };
            if let Some(stats) = departed.stats() {
                let of_app = survivors.departed.entry(&departed.app).or_default();
                of_app.push((&departed.name, Arc::clone(&instance), stats));
            }
            survivors.instances.insert(instance.address().clone(), instance);
        }
        for instance in old.instances() {
            survivors.instances.insert(instance.address().clone(), Arc::clone(instance));
        }
        survivors.apps = old.apps.iter().map(|app| (&app.name, app)).collect();
        for probed in &old.probed {
            let key = (probed.instance().address().clone(), probed.probe().clone());
            survivors.probed.insert(key, Arc::clone(probed));
        }
        survivors
    }

    /// What is counted for the members that an app had, those that departed included.
    pub fn counted(&self, app: &AppName) -> Counted<'_> {
        let departed = self.departed.get(app).into_iter().flatten();
        let departed = departed
            .map(|(name, instance, stats)| ((*name, instance.address()), Arc::clone(stats)));
        let members = self.apps.get(app).into_iter().flat_map(|app| &app.pool.members);
        let members = members
            .map(|member| ((member.name(), member.instance.address()), Arc::clone(&member.stats)));
        departed.chain(members).collect()
    }
}
