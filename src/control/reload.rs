//! Replaces the configuration of a running gateway: all of it, or nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::background;
use crate::config::{self, Config, Diagnostics, Difference, Environment, FlatConfig, Source};
use crate::control::build;
use crate::control::naming;
use crate::control::plan::{self, Changes, Question};
use crate::control::tls::{self, AuthorityFiles};
use crate::control::watch::Watch;
use crate::gateway::Shared;
use crate::gateway::state::tls::certificate::Certificate;
use crate::model::TlsMode;

/// What a reload did.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// Findings that do not stop it.
    pub warnings: Diagnostics,
    /// What it changed, and what of it needs a restart; of the apps, the first dozen.
    pub changes: Changes,
    /// How many more apps it changed.
    pub more_apps: usize,
    /// Certificates that are shown to clients from now on.
    pub certificates: Vec<Certificate>,
    /// Files whose authorities are believed from now on, in place of what stood in them.
    pub authorities: Vec<PathBuf>,
}

impl fmt::Display for Reloaded {
    /// In one line, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        if !self.changes.is_empty() {
            said.push(self.changes.to_string());
        }
        if self.more_apps > 0 {
            said.push(format!("{} more apps change", self.more_apps));
        }
        said.extend(self.certificates.iter().map(|new| format!("new certificate {new}")));
        let files = self.authorities.iter();
        said.extend(files.map(|file| format!("new authorities in {}", file.display())));
        if said.is_empty() { self.changes.fmt(f) } else { f.write_str(&said.join("; ")) }
    }
}

/// Why a reload did nothing.
#[derive(Clone, Debug, Error)]
pub enum ReloadError {
    /// The file is wrong; the findings say where, and hold no secret.
    #[error("{0}")]
    Refused(Diagnostics),
    /// The file is right, and yet no snapshot could be built of it.
    #[error("{0}")]
    NotBuilt(String),
    /// The gateway is on its way out.
    #[error("the gateway is ending")]
    Ending,
}

type Reply = oneshot::Sender<Result<Reloaded, ReloadError>>;

/// Asks for reloads. The work is done by one task, one reload after the other, and not on a worker's
/// thread.
#[derive(Clone, Debug)]
pub struct Reloader {
    requests: mpsc::Sender<Reply>,
    configs: Arc<Configs>,
}

/// Reloads that were asked for.
#[derive(Debug)]
pub struct Requests {
    queue: mpsc::Receiver<Reply>,
    configs: Arc<Configs>,
}

#[derive(Debug)]
struct Configs {
    /// What listeners and threads were set up by, without its apps.
    started_with: Config,
    /// What the snapshot was built of.
    current: ArcSwap<Config>,
    /// What stood in its files of authorities.
    authorities: ArcSwap<AuthorityFiles>,
    /// Since when the files are wrong, if they are.
    refused: ArcSwapOption<Refused>,
}

/// A configuration that was not taken in.
#[derive(Clone, Debug)]
pub struct Refused {
    /// When the first of a row of refused reloads was.
    pub since: Timestamp,
    /// Why the last of them was refused, without a secret.
    pub why: String,
}

impl Configs {
    /// Keeps what is to be said of the files.
    fn noted(&self, done: &Result<Reloaded, ReloadError>) {
        let before = self.refused.load();
        let since = before.as_ref().map_or_else(Timestamp::now, |refused| refused.since);
        let refused = done.as_ref().err().map(|why| Refused { since, why: why.to_string() });
        self.refused.store(refused.map(Arc::new));
    }

    fn shape(&self, mark: &dyn Fn(&str) -> Option<String>) -> FlatConfig {
        let current = config::flatten(&self.current.load(), mark);
        plan::with_what_runs(current, config::top(&self.started_with, mark))
    }

    /// What `new` changes, and how many apps change beyond those that a log has room for.
    fn changes(&self, new: &Config) -> (Changes, usize) {
        // These marks stay here, so they need no salt.
        let mark = |secret: &str| Some(config::mark("", secret));
        let current = self.current.load();
        let Difference { old, new, more_apps } =
            config::difference(&current, new, &mark, plan::MOST_NAMED);
        let old = plan::with_what_runs(old, config::top(&self.started_with, &mark));
        (plan::changes(&old, &new), more_apps)
    }
}

/// What a reload reads and changes.
pub struct Running {
    /// What to read again.
    pub source: Source,
    /// What `${NAME}` stands for in it.
    pub environment: Environment,
    /// Where the new snapshot goes.
    pub shared: Arc<Shared>,
    /// Says when the file, or one of its secrets', has changed.
    pub watch: Watch,
}

impl Reloader {
    /// A reloader and the queue that [`serve`](Self::serve) works off.
    pub fn new(started_with: Arc<Config>) -> (Self, Requests) {
        let (requests, queue) = mpsc::channel(16);
        let authorities = ArcSwap::from_pointee(tls::authority_files(&started_with));
        let mut top = Config::clone(&started_with);
        top.apps.clear();
        let (current, started_with) = (ArcSwap::new(started_with), top);
        let configs = Arc::new(Configs {
            started_with,
            current,
            authorities,
            refused: ArcSwapOption::empty(),
        });
        (Self { requests, configs: Arc::clone(&configs) }, Requests { queue, configs })
    }

    /// What runs, for a [`plan`]: of secrets only the marks that `question` holds already.
    pub fn shape(&self, question: &Question) -> FlatConfig {
        self.configs.shape(&|secret| {
            Some(config::mark(&question.salt, secret)).filter(|mark| question.known.contains(mark))
        })
    }

    /// What is wrong with the files, if the last reload was refused.
    pub fn refused(&self) -> Option<Arc<Refused>> {
        self.configs.refused.load_full()
    }

    /// Reads the file again. On any error the old configuration stays as it is.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| ReloadError::Ending)?;
        answer.await.map_err(|_| ReloadError::Ending)?
    }

    /// Works off reloads for as long as the process lives: those that are asked for, and one after
    /// each change of the files. Names that Dify has for apps are taken as they are learned. `apply` gives what the snapshot does not
    /// hold to those who need it, and cannot fail.
    pub async fn serve(mut requests: Requests, mut running: Running, apply: impl Fn(&Config)) {
        loop {
            let reply = tokio::select! {
                asked = requests.queue.recv() => match asked {
                    Some(reply) => Some(reply),
                    None => return,
                },
                () = running.watch.changed() => None,
                () = running.shared.app_names().changed() => {
                    if let Err(error) = running.rename(&requests.configs).await {
                        tracing::error!("the apps keep their old model ids: {error}");
                    }
                    continue;
                }
            };
            let done = running.reload(&requests.configs, &apply).await;
            log(&running.source, &done);
            requests.configs.noted(&done);
            if let Some(reply) = reply {
                // Whoever asked may have gone away; the reload has happened all the same.
                let _ = reply.send(done);
            }
        }
    }
}

impl Running {
    async fn reload(
        &mut self,
        configs: &Arc<Configs>,
        apply: &impl Fn(&Config),
    ) -> Result<Reloaded, ReloadError> {
        // Before the files are read: what changes while they are is a change.
        self.watch.look();
        let (source, environment) = (self.source.clone(), self.environment.clone());
        let (shared, configs) = (Arc::clone(&self.shared), Arc::clone(configs));
        let (reloaded, config) =
            aside(move || replace(&source, &environment, &shared, &configs)).await??;
        apply(&config);
        self.shared.app_names().ask_again();
        self.watch.follow(self.source.path(), &config.watched_files);
        Ok(reloaded)
    }
}

impl Running {
    /// Gives apps the names that were learned; nothing is read again.
    async fn rename(&self, configs: &Arc<Configs>) -> Result<(), ReloadError> {
        let (shared, configs) = (Arc::clone(&self.shared), Arc::clone(configs));
        aside(move || {
            let (current, old) = (configs.current.load_full(), shared.snapshot());
            let mut config = Config::clone(&current);
            naming::apply(&mut config, &shared.app_names().all(), &current);
            let before = build::Before { config: &current, snapshot: &old };
            let snapshot = build::snapshot(&config, Some(before)).map_err(ReloadError::NotBuilt)?;
            shared.swap(Arc::new(snapshot));
            naming::log(&current, &config);
            configs.current.store(Arc::new(config));
            Ok(())
        })
        .await?
    }
}

/// Does the work on a thread of its own, which gives way to those that serve requests and probe.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReloadError> {
    let (done, answer) = oneshot::channel();
    let begun = background::spawn("reload", move || {
        // Who waited may have gone.
        let _ = done.send(work());
    });
    begun.map_err(|error| ReloadError::NotBuilt(format!("no thread for it: {error}")))?;
    answer.await.map_err(|_| ReloadError::NotBuilt("it broke off".to_owned()))
}

/// Reads the configuration and puts its snapshot in the place of the one that runs.
fn replace(
    source: &Source,
    environment: &Environment,
    shared: &Shared,
    configs: &Configs,
) -> Result<(Reloaded, Arc<Config>), ReloadError> {
    let (current, old) = (configs.current.load_full(), shared.snapshot());
    let mut loaded = source.load(environment).map_err(ReloadError::Refused)?;
    naming::apply(&mut loaded.config, &shared.app_names().all(), &current);
    let before = build::Before { config: &current, snapshot: &old };
    let snapshot = build::snapshot(&loaded.config, Some(before)).map_err(ReloadError::NotBuilt)?;
    let (was, now) = (old.tls.as_ref(), snapshot.tls.as_ref());
    if was.is_some() && now.is_none() {
        keeps_tls(&configs.started_with)?;
    }
    let certificates = tls::exchanged(was, now);
    tls::warnings(now).iter().for_each(|warning| loaded.warnings.warn(warning, tls::RENEW));
    // From here on nothing can fail.
    shared.swap(Arc::new(snapshot));
    let (changes, more_apps) = configs.changes(&loaded.config);
    let files = tls::authority_files(&loaded.config);
    let authorities = tls::exchanged_files(&configs.authorities.load(), &files);
    configs.authorities.store(Arc::new(files));
    naming::log(&current, &loaded.config);
    let config = Arc::new(loaded.config);
    configs.current.store(Arc::clone(&config));
    let warnings = loaded.warnings;
    Ok((Reloaded { warnings, changes, more_apps, certificates, authorities }, config))
}

/// Addresses that clients reach over TLS stay as they are until a restart, so their certificates do, too: else a
/// reload would cut their clients off, or have them speak in the clear.
fn keeps_tls(started_with: &Config) -> Result<(), ReloadError> {
    let secured = started_with.listen.listeners().iter().filter(|one| one.tls != TlsMode::Off);
    let secured: Vec<_> = secured.map(|one| one.address.to_string()).collect();
    match secured[..] {
        [] => Ok(()),
        _ => Err(ReloadError::NotBuilt(format!(
            "clients speak TLS at {}, and the configuration has no `tls` any more: restart the gateway for that",
            secured.join(", ")
        ))),
    }
}

fn log(source: &Source, done: &Result<Reloaded, ReloadError>) {
    match done {
        Ok(done @ Reloaded { warnings, changes, .. }) => {
            tracing::info!("configuration {source} reloaded: {done}");
            if !warnings.is_empty() {
                tracing::warn!("{warnings}");
            }
            if !changes.needs_restart.is_empty() {
                let keys = changes.needs_restart.join(", ");
                tracing::warn!("a change of {keys} takes effect only after a restart");
            }
        }
        Err(error) => tracing::error!("reload refused, the old configuration stays: {error}"),
    }
}
