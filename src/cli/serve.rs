//! `difygate serve`: wires control, gateway and admin together. The only place that does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, spawn_blocking};

use crate::admin::AdminState;
use crate::admin::{self, Access, AdminRouter};
use crate::affinity::Owners;
use crate::cli::config_source::ConfigOption;
use crate::cli::environment::environment;
use crate::cli::exit_status::ExitStatus;
use crate::cli::logs;
use crate::cli::printer::Printer;
use crate::cli::printer::style;
use crate::cli::start_hints;
use crate::config::{self, Config, Diagnostics, Environment, Role, Source, Wanted, access_hint};
use crate::control::{self, Reloader, Running, Signal, Signals, Watch, capacity};
use crate::conversation::ConversationStore;
use crate::gateway::{Bound, Prober, Shared, Stores, WorkerConfig, Workers, bind};
use crate::model::TlsMode;
use crate::store::{self, Retention, Store};
use crate::telemetry::{self, AccessLog, Destination, Format};

/// Serve the apps of a configuration file.
#[derive(Debug, Args)]
#[command(
    after_help = "SIGTERM and SIGINT stop it after the running responses, a second one at once; SIGHUP reloads \
    the file, as does a change of it;\nSIGUSR1 opens the files of the logs again. RUST_LOG sets the level of the error log.\n\
     Exit codes: 0 it ended after its last response, 2 the command line or the configuration is wrong, 3 it could \
     not start, 4 a second signal cut the running responses."
)]
pub struct Arguments {
    #[command(flatten)]
    chosen: ConfigOption,
}

/// Serves until it is told to end.
pub fn run(arguments: Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let source = arguments.chosen.source();
    let loaded = source.load(&Environment { role: Role::Gateway, ..environment() });
    // A certificate or a folder that is not there is a mistake of the configuration, as for `check`.
    let loaded = loaded.and_then(|loaded| match control::certificates(&loaded.config) {
        Ok(_) => start_hints::spool(&loaded.config, &source.to_string()).map(|()| loaded),
        Err(fault) => {
            Err(Diagnostics::of_error(&source.to_string(), &fault, control::CERTIFICATES))
        }
    });
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(findings) => {
            printer.findings(&findings.render(style(printer)));
            return Ok(ExitStatus::Misused);
        }
    };
    if !loaded.warnings.is_empty() {
        printer.findings(&loaded.warnings.render(style(printer)));
    }
    let started = logs::error_log(&loaded.config);
    started.map_err(|error| ExitStatus::CouldNotRun.error(&error))?;
    loaded.changes.warnings().for_each(|warning| tracing::warn!("{warning}"));
    loaded.notes.iter().for_each(|note| tracing::info!("{note}"));
    let log = logs::access_log(&loaded.config.access_log);
    block_on(async {
        // Before anybody is told that the gateway runs: an unexpected SIGHUP would end the process.
        let signals = control::signals().context("cannot watch signals")?;
        tracing::info!("configuration: {source}");
        let gateway = Gateway::start(loaded.config, source, log).await;
        let gateway =
            gateway.map_err(|error| ExitStatus::CouldNotRun.error(&start_hints::hinted(error)))?;
        let (listen, admin) = (gateway.listening(), gateway.admin());
        tracing::info!("serving on {listen}, admin on http://{admin}");
        Ok(gateway.run_until_ended(signals).await)
    })
}

/// Runs what is not a worker's: signals, admin, reloads, probes.
///
/// # Errors
/// The runtime cannot be made, or `work` fails.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // Whoever ends at once does not wait for the workers' threads.
    runtime.shutdown_background();
    done
}

/// Where clients connect: addresses, and whether TLS is spoken there.
type Listens = Vec<(SocketAddr, TlsMode)>;

/// A running gateway.
pub struct Gateway {
    /// Not empty.
    listen: Listens,
    admin: SocketAddr,
    shared: Arc<Shared>,
    workers: Workers,
    access_log: Option<AccessLog>,
    reloader: Reloader,
    prober: Prober,
    /// Ended when the gateway is dropped.
    tasks: JoinSet<()>,
}

impl Gateway {
    /// Starts a gateway; `source` is what a reload reads again.
    ///
    /// # Errors
    /// An address cannot be bound, the access log cannot be opened, or the process may open too few
    /// files. Nothing keeps running then.
    pub async fn start(
        config: Config,
        source: impl Into<Source>,
        log: Option<(Format, Destination)>,
    ) -> anyhow::Result<Self> {
        let (setup, source) = (setup(&config)?, source.into());
        let config = Arc::new(config);
        let snapshot = control::snapshot(&config, None).map_err(|what| anyhow!(what))?;
        for warning in control::certificate_warnings(snapshot.tls.as_ref()) {
            tracing::warn!("{warning}; {}", control::RENEW);
        }
        let (listeners, listen) = bind_all(&config, setup, &source)?;
        let at = config.admin.listen;
        let admin_listener = TcpListener::bind(at)
            .await
            .map_err(|error| start_hints::in_use(error, at))
            .with_context(|| format!("cannot listen on {at} ({})", source.says("admin.listen")))?;
        let admin = admin_listener.local_addr()?;
        let access_log = match log {
            Some((format, destination)) => Some(logs::start_access_log(format, destination)?),
            None => None,
        };
        // After the listeners: who finds the port taken would also find the store in use.
        let (local, warning) = local_store(&config, &source);
        let conversation_store = Arc::new(conversation_store(&config, &local, warning.clone())?);
        let owners = Arc::new(owners(&config, local, warning)?);
        let (reloader, requests) = Reloader::new(Arc::clone(&config));
        let access = Arc::new(ArcSwap::from_pointee(access(&config)));
        let sink = access_log.as_ref().map(AccessLog::sink);
        let log_dropped = sink.as_ref().map(telemetry::Sink::dropped);
        let state = |shared: &Weak<Shared>| {
            Arc::new(AdminState {
                shared: shared.clone(),
                access: Arc::clone(&access),
                reloader: reloader.clone(),
                log_dropped: log_dropped.clone(),
            })
        };
        let shared = Arc::new_cyclic(|shared| {
            let admin = Box::new(AdminRouter::new(state(shared)));
            let kept = Stores { owners, conversation_store };
            Shared::new(Arc::new(snapshot), kept, admin, setup.workers)
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_admin(admin_listener, state(&Arc::downgrade(&shared))));
        let apply = move |config: &Config| access.store(Arc::new(self::access(config)));
        let watch = Watch::start(source.path(), &config.watched_files);
        let environment = Environment { role: Role::Gateway, ..environment() };
        let shared_ = Arc::clone(&shared);
        let running = Running { source, environment, shared: shared_, watch };
        tasks.spawn(Reloader::serve(requests, running, apply));
        let prober = Prober::start(Arc::clone(&shared))?;
        let workers = Workers::start(listeners, &shared, setup, sink)?;
        Ok(Self { listen, admin, shared, workers, access_log, reloader, prober, tasks })
    }

    /// Where clients connect; the first address of several.
    pub fn listen(&self) -> SocketAddr {
        self.listens().next().unwrap_or(self.admin)
    }

    /// All addresses where clients connect, in the order of the configuration.
    pub fn listens(&self) -> impl Iterator<Item = SocketAddr> {
        self.listen.iter().map(|(address, _)| *address)
    }

    /// The same as URLs, for the log.
    fn listening(&self) -> String {
        let certificates = self.shared.snapshot().tls.is_some();
        let url = |(address, tls): &(SocketAddr, TlsMode)| match tls {
            TlsMode::On => format!("https://{address}"),
            TlsMode::Auto if certificates => format!("https://{address}"),
            TlsMode::Auto | TlsMode::Off => format!("http://{address}"),
        };
        self.listen.iter().map(url).collect::<Vec<_>>().join(", ")
    }

    /// Where operators connect.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What its threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads the configuration again, when asked.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// Serves until a signal ends it and the last answer is out, or a second signal at once.
    pub async fn run_until_ended(self, mut signals: Signals) -> ExitStatus {
        loop {
            match signals.next().await {
                Signal::Drain => break,
                Signal::ReopenLogs => {
                    self.access_log.iter().for_each(AccessLog::reopen);
                    telemetry::reopen_error_log();
                }
                Signal::Reload => {
                    // The result is logged where the reload happens.
                    let _ = self.reloader.reload().await;
                }
            }
        }
        let running = self.shared.stats.in_flight.get();
        tracing::info!("ending: {running} requests still run; a second signal ends at once");
        let drained = self.drain();
        tokio::pin!(drained);
        loop {
            tokio::select! {
                () = &mut drained => {
                    tracing::info!("ended");
                    return ExitStatus::Done;
                }
                signal = signals.next() => if signal == Signal::Drain {
                    tracing::warn!("ended at once: running answers were cut");
                    return ExitStatus::Stopped;
                }
            }
        }
    }

    /// Takes no new connections, waits for the last answer, the last line of the log and the last
    /// commit of the store.
    pub async fn drain(self) {
        let Self { shared, workers, access_log, prober, mut tasks, .. } = self;
        shared.drain();
        // The admin listener answers until the end, so that an operator can see what still runs.
        let conversation_store = Arc::clone(shared.conversation_store());
        let joined = spawn_blocking(move || {
            workers.join();
            access_log.into_iter().for_each(AccessLog::finish);
            shared.owners().finish();
        });
        if joined.await.is_err() {
            tracing::error!("cannot wait for the workers");
        }
        conversation_store.close().await;
        drop(prober);
        tasks.shutdown().await;
    }
}

/// Binds every address of `listen`.
fn bind_all(
    config: &Config,
    setup: WorkerConfig,
    source: &Source,
) -> anyhow::Result<(Vec<Bound>, Listens)> {
    let (mut bound, mut listen) = (Vec::new(), Vec::new());
    for &config::Listener { address, tls } in config.listen.listeners() {
        let sockets = bind(address, setup.workers, setup.backlog)
            .map_err(|error| start_hints::in_use(error, address))
            .with_context(|| format!("cannot listen on {address} ({})", source.says("listen")))?;
        listen.push((sockets.first().context("no worker")?.local_addr()?, tls));
        bound.push(Bound { sockets, tls });
    }
    Ok((bound, listen))
}

async fn answer_admin(listener: TcpListener, state: Arc<AdminState>) {
    if let Err(error) = admin::serve(listener, state).await {
        tracing::error!("the admin listener ended: {error}");
    }
}

fn setup(config: &Config) -> anyhow::Result<WorkerConfig> {
    let capacity = capacity(config.limits.max_connections).map_err(|what| anyhow!(what))?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Ok(WorkerConfig {
        workers: config.workers.unwrap_or(cores),
        pin_cpus: config.pin_cpus,
        max_connections: capacity.max_connections,
        backlog: config.limits.backlog,
    })
}

/// The store of this gateway alone, and what is wrong with it.
fn local_store(config: &Config, source: &Source) -> (Arc<dyn Store>, Option<String>) {
    let folder = state_folder(config, source.path(), &environment());
    let (store, warning) = store::open(&folder);
    let warning = warning.map(|text| text.replace("`store.path`", &source.says("store.path")));
    let warning =
        warning.map(|warning| match access_hint(&folder, Wanted::Folder, Role::Gateway) {
            Some(hint) => format!("{warning}; {hint}"),
            None => warning,
        });
    if let Some(warning) = &warning {
        tracing::warn!("{warning}");
    }
    (store, warning)
}

/// The book of conversations, in Redis where that is named.
fn conversation_store(
    config: &Config,
    local: &Arc<dyn Store>,
    warning: Option<String>,
) -> anyhow::Result<ConversationStore> {
    let (store, warning) = match &config.store.redis {
        Some(url) => (store::in_redis(url)?, None),
        None => (Arc::clone(local), warning),
    };
    let config::Conversations { max_entries, max_age, on_store_failure } = config.conversations;
    let limits = Retention { max_entries, max_age };
    let conversation_store = ConversationStore::start(store, warning, limits, on_store_failure);
    conversation_store.context("cannot start the thread that keeps the conversations")
}

/// The owners of ids, from the store where they are kept.
fn owners(
    config: &Config,
    store: Arc<dyn Store>,
    warning: Option<String>,
) -> anyhow::Result<Owners> {
    let config::Owners { max_entries, max_age } = config.owners;
    let owners = Owners::start(store, warning, Retention { max_entries, max_age });
    owners.context("cannot start the thread that writes to the store")
}

/// `store.path`, else the first folder of `$STATE_DIRECTORY`, else one beside the configuration. A process
/// that is one of several there has its own in it.
fn state_folder(
    config: &Config,
    path: Option<&Path>,
    environment: &config::Environment,
) -> PathBuf {
    if let Some(folder) = &config.store.path {
        return folder.clone();
    }
    let given = environment.vars.get("STATE_DIRECTORY").and_then(|list| list.split(':').next());
    let name = config.state_name.as_deref();
    match given.filter(|folder| !folder.is_empty()) {
        Some(folder) => name.map_or(PathBuf::from(folder), |name| Path::new(folder).join(name)),
        None => {
            let beside = path.and_then(Path::parent).unwrap_or(Path::new(""));
            beside.join(name.unwrap_or("difygate-data"))
        }
    }
}

fn access(config: &Config) -> Access {
    let config::Admin { token, allow, hosts, .. } = config.admin.clone();
    Access { token, allow, hosts }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::state_folder;
    use crate::config::{Environment, parse};

    #[test]
    fn the_state_is_where_the_operator_or_systemd_says() {
        let folder = |store: &str, state: Option<&str>, path: &str| {
            let text = format!(
                "{store}\napps: {{ a: {{ user_tokens: [t], instances: [{{ name: one, host: dify, token: key }}] }} }}"
            );
            let config = parse("x", &text, &Environment::default()).unwrap().config;
            let vars = state.map(|folder| ("STATE_DIRECTORY".to_owned(), folder.to_owned()));
            let environment =
                Environment { vars: vars.into_iter().collect(), ..Default::default() };
            state_folder(&config, Some(Path::new(path)), &environment)
        };
        for (store, state, path, expected) in [
            ("", None, "/etc/difygate/difygate.yaml", "/etc/difygate/difygate-data"),
            ("", None, "difygate.yaml", "difygate-data"),
            ("", Some(""), "difygate.yaml", "difygate-data"),
            ("", Some("/var/lib/a:/var/lib/b"), "/etc/x.yaml", "/var/lib/a"),
            ("store: { path: /data }", Some("/var/lib/a"), "/etc/x.yaml", "/data"),
        ] {
            assert_eq!(folder(store, state, path), PathBuf::from(expected), "{store} {state:?}");
        }
    }
}
