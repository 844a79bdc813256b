//! `difygate check --ask`: asks every instance of every app with its key, once.
//!
//! A wrong key looks healthy to probes, which have none, and to a start, which sends nothing. Here each key
//! is used as a request uses it: `/v1/info` and `/v1/parameters` with the app's, `/v1/datasets` with the
//! one of the knowledge API. Nothing is changed in Dify, and no run is started.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::http_get::get;
use crate::cli::table::{Cell, Tone, table};
use crate::config::Config;
use crate::control;
use crate::gateway::{Instance, dial};
use crate::model::Token;

/// Instances that are asked at a time.
const AT_ONCE: usize = 16;

/// For one answer; a busy Dify may take a while.
const PATIENCE: Duration = Duration::from_secs(10);

/// What Dify says of itself at most, in a message.
const LONGEST_CHARS: usize = 120;

/// What one instance said.
#[derive(Debug)]
pub(super) struct Asked {
    app: String,
    instance: String,
    address: String,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// The app as Dify knows it.
    Good { name: String, mode: Option<String> },
    /// It does not answer as a Dify with this app does.
    Wrong { short: &'static str, why: String },
}

impl Asked {
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self.outcome, Outcome::Wrong { .. })
    }

    pub(super) fn to_json(&self) -> Value {
        let (good, name, mode, why) = match &self.outcome {
            Outcome::Good { name, mode } => (true, Some(name), mode.as_ref(), None),
            Outcome::Wrong { why, .. } => (false, None, None, Some(why)),
        };
        json!({ "app": self.app, "instance": self.instance, "address": self.address, "good": good,
            "name": name, "mode": mode, "error": why })
    }
}

/// Asks all instances, some at a time, and gives what they said in the order of the configuration.
///
/// # Errors
/// No way to the instances can be made of the configuration.
pub(super) async fn ask_all(config: &Config) -> anyhow::Result<Vec<Asked>> {
    let snapshot = control::snapshot(config, None).map_err(|what| anyhow!(what))?;
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (app, known) in config.apps.values().zip(&snapshot.apps) {
        for (written, member) in app.instances.iter().zip(&known.pool.members) {
            let place = tasks.len();
            let question = Question {
                instance: Arc::clone(&member.instance),
                token: written.token.clone(),
                dataset_token: written.dataset_token.clone(),
            };
            let (app, name) = (known.name.to_string(), written.name.to_string());
            let at_once = Arc::clone(&at_once);
            tasks.spawn(async move {
                // It is never closed.
                let _turn = at_once.acquire_owned().await;
                let address = question.instance.address().to_string();
                let outcome = question.ask().await;
                (place, Asked { app, instance: name, address, outcome })
            });
        }
    }
    let mut asked = tasks.join_all().await;
    asked.sort_by_key(|(place, _)| *place);
    let mut asked: Vec<_> = asked.into_iter().map(|(_, asked)| asked).collect();
    one_mode_for_each_app(&mut asked);
    Ok(asked)
}

/// Instances of an app whose keys open apps of several modes: one of them is another app's.
fn one_mode_for_each_app(asked: &mut [Asked]) {
    let mut first: Option<(String, String, String)> = None;
    for one in asked {
        let Outcome::Good { mode: Some(mode), .. } = &one.outcome else { continue };
        match &first {
            Some((app, instance, other)) if *app == one.app => {
                if other != mode {
                    let why = format!(
                        "its key opens an app of mode {mode}, and that of {instance} one of mode {other}: is one \
                         of them the key of another app?"
                    );
                    one.outcome = Outcome::Wrong { short: "another app", why };
                }
            }
            _ => first = Some((one.app.clone(), one.instance.clone(), mode.clone())),
        }
    }
}

struct Question {
    instance: Arc<Instance>,
    token: Token,
    dataset_token: Option<Token>,
}

impl Question {
    async fn ask(&self) -> Outcome {
        let asked = async {
            let info = self.answer("/v1/info", "token", &self.token).await?;
            self.answer("/v1/parameters", "token", &self.token).await?;
            if let Some(token) = &self.dataset_token {
                self.answer("/v1/datasets?limit=1", "dataset_token", token).await?;
            }
            Ok(info)
        };
        match asked.await {
            Ok(info) => {
                let word = |key: &str| info[key].as_str().map(printable);
                Outcome::Good { name: word("name").unwrap_or_default(), mode: word("mode") }
            }
            Err(wrong) => wrong,
        }
    }

    /// The object that it answers with, or what is wrong with it.
    async fn answer(&self, path: &str, key: &str, token: &Token) -> Result<Value, Outcome> {
        let asked = async {
            let stream = dial(&self.instance).await.map_err(|error| anyhow!(error))?;
            let address = self.instance.address();
            let path = format!("{}{path}", address.base_path);
            get(stream, &address.authority(), &path, Some(token)).await
        };
        let (status, body) = match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Outcome::no_answer(&format!("{error:#}"))),
            Err(_) => {
                let seconds = PATIENCE.as_secs();
                return Err(Outcome::no_answer(&format!(
                    "{path} is not answered within {seconds} s"
                )));
            }
        };
        match serde_json::from_slice::<Value>(&body) {
            Ok(object) if status == StatusCode::OK && object.is_object() => Ok(object),
            _ => Err(Outcome::of(status, &body, path, key)),
        }
    }
}

impl Outcome {
    fn no_answer(why: &str) -> Self {
        Self::Wrong { short: "no answer", why: format!("it does not answer: {why}") }
    }

    fn of(status: StatusCode, body: &Bytes, path: &str, key: &str) -> Self {
        let said = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let said = match (said["code"].as_str(), said["message"].as_str()) {
            (Some(code), Some(message)) => {
                format!(" ({}: {})", printable(code), printable(message))
            }
            _ => String::new(),
        };
        let status_ = status.as_u16();
        match status_ {
            401 => Self::Wrong {
                short: "key refused",
                why: format!(
                    "it refuses `{key}`{said}: the key was mistyped or deleted, or it is of another Dify"
                ),
            },
            403 => Self::Wrong {
                short: "key refused",
                why: format!("`{key}` may not ask for {path}: 403{said}"),
            },
            400..500 if !said.is_empty() => Self::Wrong {
                short: "not available",
                why: format!("{path} is answered with {status_}{said}: is the app published?"),
            },
            500.. => Self::Wrong {
                short: "fails",
                why: format!("{path} is answered with {status_}{said}"),
            },
            _ => Self::Wrong {
                short: "no Dify",
                why: format!(
                    "{path} is answered with {status_}, and not as Dify does: is this its API?"
                ),
            },
        }
    }
}

/// What Dify says must not steer the terminal.
fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(LONGEST_CHARS).map(safe).collect()
}

/// What they said, for a person.
pub(super) fn text(asked: &[Asked]) -> String {
    let rows = asked.iter().map(|one| {
        let (answer, app) = match &one.outcome {
            Outcome::Good { name, mode } => {
                let mode = mode.as_deref().map(|mode| format!(" ({mode})")).unwrap_or_default();
                (Cell::new("good", Tone::Good), format!("{name}{mode}"))
            }
            Outcome::Wrong { short, .. } => (Cell::new(*short, Tone::Bad), String::new()),
        };
        [
            one.app.as_str().into(),
            one.instance.as_str().into(),
            answer,
            one.address.as_str().into(),
            app.into(),
        ]
    });
    let mut text = table(["APP", "INSTANCE", "KEY", "ADDRESS", "APP IN DIFY"], rows.collect());
    for one in asked {
        if let Outcome::Wrong { why, .. } = &one.outcome {
            text += &format!("\n{}/{}: {why}\n", one.app, one.instance);
        }
    }
    text
}
