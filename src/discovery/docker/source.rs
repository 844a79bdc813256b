//! Follows an engine.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::containers::Containers;
use super::engine::{Engine, Events};
use super::error::EngineError;
use super::events::Effect;
use super::settings::{DockerSettings, Selection};
use crate::discovery::source::{KeepLast, Publisher, Refresh, Source};

/// How long further events are waited for before a list: `up --scale api=5` starts several at once.
const TOGETHER: Duration = Duration::from_millis(10);

/// A stream that ends after less than this is a failure.
const CUT_AFTER: Duration = Duration::from_secs(1);

/// The containers of a service.
#[derive(Clone, Debug)]
pub struct DockerSource {
    settings: DockerSettings,
    engine: Engine,
}

impl DockerSource {
    /// A source that follows one service.
    pub fn new(settings: DockerSettings) -> Self {
        let engine = Engine::new(settings.engine.clone(), settings.timing.answer);
        Self { settings, engine }
    }

    /// Follows the engine until that fails.
    async fn follow(&self, run: &mut Run) -> EngineError {
        match self.start(run).await {
            Ok(following) => self.keep_on(run, following).await,
            Err(error) => error,
        }
    }

    /// A full picture: the stream first, so that what happens during the list is in it.
    async fn start(&self, run: &mut Run) -> Result<Following, EngineError> {
        let version = self.engine.negotiate().await?;
        let events = self.engine.events(&version).await?;
        let mut following = Following {
            version,
            events,
            containers: Containers::default(),
            listed: Instant::now(),
        };
        self.list(run, &mut following).await?;
        run.pause = self.settings.timing.first_pause;
        Ok(following)
    }

    async fn keep_on(&self, run: &mut Run, mut following: Following) -> EngineError {
        let every = self.settings.timing.list_every;
        let mut next_list = following.listed + every;
        loop {
            let event = tokio::select! {
                event = following.events.next() => Some(event),
                () = sleep_until(next_list) => None,
                () = run.refresh.asked(following.listed) => None,
            };
            let effect = match event {
                Some(Ok(event)) => following.containers.apply(&event, &self.settings.selection),
                Some(Err(error)) => return error,
                None => {
                    if let Err(error) = self.list(run, &mut following).await {
                        return error;
                    }
                    next_list = following.listed + every;
                    continue;
                }
            };
            match effect {
                Effect::Nothing => {}
                Effect::Changed => {
                    run.publisher.succeeded(following.containers.set(&self.settings))
                }
                Effect::List => next_list = next_list.min(Instant::now() + TOGETHER),
            }
        }
    }

    async fn list(&self, run: &mut Run, following: &mut Following) -> Result<(), EngineError> {
        following.listed = Instant::now();
        let selection = &self.settings.selection;
        let list = self.engine.containers(&following.version, selection).await?;
        following.containers.replace(list);
        run.publisher.succeeded(following.containers.set(&self.settings));
        Ok(())
    }
}

/// What lasts from one connection to the next.
struct Run {
    publisher: Publisher,
    refresh: Refresh,
    pause: Duration,
}

/// What belongs to one connection. Its marks go with it: what was said while there was none is unknown.
struct Following {
    version: String,
    events: Events,
    containers: Containers,
    listed: Instant,
}

impl Source for DockerSource {
    fn describe(&self) -> String {
        match &self.settings.selection {
            Selection::Compose { project, service } => format!("docker {project}/{service}"),
            Selection::Label { service } => format!("docker {service}"),
        }
    }

    fn keep_last(&self) -> KeepLast {
        self.settings.keep_last
    }

    async fn run(self, publisher: Publisher, refresh: Refresh) {
        let mut run = Run { publisher, refresh, pause: self.settings.timing.first_pause };
        loop {
            let began = Instant::now();
            let error = self.follow(&mut run).await;
            // Proxies cut a stream that was idle for minutes. Whether the engine is gone with it, the next
            // connection tells.
            if matches!(error, EngineError::EventsEnded { .. }) && began.elapsed() > CUT_AFTER {
                continue;
            }
            run.publisher.failed(error);
            tokio::select! {
                () = sleep(run.pause) => {}
                () = run.refresh.asked(began) => {}
            }
            run.pause = (run.pause * 2).min(self.settings.timing.longest_pause);
        }
    }
}
