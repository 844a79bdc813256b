//! How the commands that ask a running gateway find it and speak with it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::config_source::ConfigOption;
use crate::cli::environment::environment;
use crate::cli::exit_status::{CommandError, ExitStatus};
use crate::cli::http_get::{get, post};
use crate::cli::printer::Printer;
use crate::cli::printer::style;
use crate::config::{self, Admin, AdminPlace, NoAdminPlace, Source};
use crate::model::Token;

/// An admin listener answers at once; this is for a machine under load.
const PATIENCE: Duration = Duration::from_secs(5);

/// A walk through a whole store takes longer.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Which gateway, where the command line says it.
#[derive(Debug, Args)]
pub(super) struct AdminOption {
    /// Admin listener to use instead of the one in the configuration, of which no secret is needed; where
    /// there is no configuration, 127.0.0.1:9090
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    admin: Option<SocketAddr>,
    /// The admin token, instead of the one in the configuration
    #[arg(long, value_name = "TOKEN", env = "DIFYGATE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

/// `HOST:PORT`, also written as a URL.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let address = match address.strip_prefix("localhost:") {
        Some(port) => &format!("127.0.0.1:{port}"),
        None => address,
    };
    address.parse().map_err(|_| {
        "write it as `127.0.0.1:9090` or `localhost:9090`; of another host name write the address".to_owned()
    })
}

/// A gateway's admin listener.
#[derive(Clone, Debug)]
pub(super) struct AdminClient {
    pub address: SocketAddr,
    token: Option<Token>,
    /// Why the token of the configuration is not known here.
    no_token: Option<String>,
    patience: Duration,
}

impl AdminOption {
    /// The admin listener that the command line names.
    pub(super) fn named(&self) -> Option<AdminClient> {
        self.admin.map(|address| self.client(address))
    }

    fn client(&self, address: SocketAddr) -> AdminClient {
        let token = self.admin_token.clone().map(Token::new);
        AdminClient { address, token, no_token: None, patience: PATIENCE }
    }

    /// The same; where it names none, that of the configuration, of which nothing else is read; and
    /// where there is no configuration, the one that a gateway has by itself. None: the configuration is
    /// wrong, and that was printed. Unless somebody has named it, standard error says which it is.
    pub(super) fn admin(
        &self,
        config: &ConfigOption,
        printer: &mut Printer,
    ) -> Option<AdminClient> {
        if let Some(admin) = self.named() {
            return Some(admin);
        }
        let source = config.source();
        let environment = source.environment(&environment());
        let (client, from) = match &source {
            Source::File(path) | Source::Filled { path, .. } => {
                match config::admin_place(path, &environment) {
                    Ok(place) => (self.of_place(place), path.display().to_string()),
                    Err(NoAdminPlace::Unread(why)) if !config.is_named() => {
                        let why = why.findings().first().map(|finding| finding.message.clone());
                        let why = why.unwrap_or_default();
                        (self.client(Admin::default().listen), format!("{}: {why}", path.display()))
                    }
                    Err(NoAdminPlace::Unread(findings) | NoAdminPlace::Wrong(findings)) => {
                        printer.findings(&findings.render(style(printer)));
                        printer.findings(
                            "A running gateway can be asked without it: `--admin HOST:PORT`.\n",
                        );
                        return None;
                    }
                }
            }
            // Where its keys are not set here, it listens where it does by itself.
            Source::Environment { .. } => {
                let loaded = source.load(&environment);
                let admin = loaded.map_or_else(|_| Admin::default(), |loaded| loaded.config.admin);
                (self.of(&admin), source.to_string())
            }
        };
        // Where there is no configuration, there is nothing to say of it.
        if !config.is_named() && source.path().is_none_or(std::path::Path::exists) {
            printer.note(&format!("the gateway at {} ({from})", client.address));
        }
        Some(client)
    }

    /// The one of a configuration that was read.
    pub(super) fn of(&self, admin: &Admin) -> AdminClient {
        let client = self.client(admin.listen);
        AdminClient { token: client.token.or_else(|| admin.token.clone()), ..client }
    }

    fn of_place(&self, place: AdminPlace) -> AdminClient {
        let client = self.client(place.listen);
        let token = client.token.or(place.token);
        AdminClient { token, no_token: place.no_token, ..client }
    }
}

impl AdminClient {
    /// The same, for questions that take long.
    pub(super) fn patient(self) -> Self {
        Self { patience: LONG_PATIENCE, ..self }
    }

    /// What it answers to a GET.
    ///
    /// # Errors
    /// Nothing answers there in time, or not this.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.begin().await?;
        let answer = async {
            let stream = self.connect().await?;
            get(stream, &self.address.to_string(), path, self.token.as_ref()).await
        };
        self.within(answer).await
    }

    /// What it answers to a question.
    ///
    /// # Errors
    /// Nothing answers there in time, or not this.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(question)?;
        self.begin().await?;
        let answer = async {
            let stream = self.connect().await?;
            post(stream, &self.address.to_string(), path, self.token.as_ref(), body).await
        };
        self.within(answer).await
    }

    /// Sees that the token can be sent and, before a question that may take long, that anything answers.
    async fn begin(&self) -> anyhow::Result<()> {
        let can_be_sent = |token: &Token| HeaderValue::from_str(token.expose()).is_ok();
        if !self.token.as_ref().is_none_or(can_be_sent) {
            let text =
                "the admin token has a line break or another character that no header can have";
            return Err(CommandError::of(ExitStatus::Misused, text));
        }
        if self.patience > PATIENCE {
            let alive = async {
                let stream = self.connect().await?;
                get(stream, &self.address.to_string(), "/health", None).await
            };
            self.answered(alive, PATIENCE).await?;
        }
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        TcpStream::connect(self.address).await.map_err(|error| {
            let address = self.address;
            let text = format!(
                "no gateway answers at {address}: is it running, and is `admin.listen` the same? ({error})"
            );
            CommandError::of(ExitStatus::CouldNotRun, text)
        })
    }

    async fn within<T: DeserializeOwned>(
        &self,
        answer: impl Future<Output = anyhow::Result<(StatusCode, bytes::Bytes)>>,
    ) -> anyhow::Result<T> {
        let address = self.address;
        let (status, body) = self.answered(answer, self.patience).await?;
        let (how, text) = match status {
            StatusCode::OK => {
                let read = serde_json::from_slice(&body).with_context(|| {
                    format!("{address} answers as no gateway of this version does")
                });
                return read.map_err(|error| ExitStatus::CouldNotRun.error(&error));
            }
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                (ExitStatus::Refused, self.forbidden())
            }
            StatusCode::BAD_REQUEST | StatusCode::SERVICE_UNAVAILABLE => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let said = body["message"].as_str().unwrap_or("the gateway refused the request");
                let is_asked_wrongly = status == StatusCode::BAD_REQUEST;
                let how = if is_asked_wrongly { ExitStatus::Misused } else { ExitStatus::Failed };
                (how, said.to_owned())
            }
            other => {
                let text = format!("{address} answers {other}: is it a difygate admin listener?");
                (ExitStatus::CouldNotRun, text)
            }
        };
        Err(CommandError::of(how, text))
    }

    /// What comes within this time; where something else than an answer comes, why that may be.
    async fn answered(
        &self,
        answer: impl Future<Output = anyhow::Result<(StatusCode, bytes::Bytes)>>,
        patience: Duration,
    ) -> anyhow::Result<(StatusCode, bytes::Bytes)> {
        let address = self.address;
        let why = match timeout(patience, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is::<CommandError>() => return Err(error),
            Ok(Err(error)) => format!(
                "{address} takes the connection and gives no answer ({error:#}): is this machine's address in \
                 `admin.allow`, and is it a difygate admin listener?"
            ),
            Err(_) => {
                let seconds = patience.as_secs();
                format!("no answer from the gateway at {address} within {seconds} s")
            }
        };
        Err(CommandError::of(ExitStatus::CouldNotRun, why))
    }

    fn forbidden(&self) -> String {
        let address = self.address;
        match &self.no_token {
            Some(why) if self.token.is_none() => format!(
                "the gateway at {address} wants its `admin.token`, and {why}: give it as --admin-token or \
                 DIFYGATE_ADMIN_TOKEN"
            ),
            _ => format!(
                "the gateway at {address} does not answer this address or token: give its `admin.token` as \
                 --admin-token or DIFYGATE_ADMIN_TOKEN; `admin.allow` has the addresses that may ask"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_address;

    #[test]
    fn an_admin_listener_is_named_by_address_or_url() {
        for text in [
            "127.0.0.1:9090",
            "localhost:9090",
            "http://localhost:9090/",
            "http://127.0.0.1:9090",
            "http://[::1]:9090/",
        ] {
            assert!(parse_address(text).is_ok(), "{text}");
        }
        for text in ["9090", "https://127.0.0.1:9090", "gateway:9090", ""] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
