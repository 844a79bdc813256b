//! How the commands that ask a running gateway find it and speak with it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::check::style;
use crate::cli::config_source::ConfigOption;
use crate::cli::environment::environment;
use crate::cli::http_get::{get, post};
use crate::cli::printer::Printer;
use crate::config::Config;
use crate::model::Token;

/// An admin listener answers at once; this is for a machine under load.
const PATIENCE: Duration = Duration::from_secs(5);

/// A walk through a whole store takes longer.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Which gateway, where the command line says it.
#[derive(Debug, Args)]
pub(super) struct AdminOption {
    /// Admin listener to use instead of the one in the configuration
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    admin: Option<SocketAddr>,
    /// The admin token, with `--admin`
    #[arg(long, value_name = "TOKEN", env = "DIFYGATE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

/// `HOST:PORT`, also written as a URL.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    address.parse().map_err(|_| "write it as `127.0.0.1:9090`".to_owned())
}

/// A gateway's admin listener.
#[derive(Clone, Debug)]
pub(super) struct AdminClient {
    pub address: SocketAddr,
    token: Option<Token>,
    patience: Duration,
}

impl AdminOption {
    /// The admin listener that the command line names.
    pub(super) fn named(&self) -> Option<AdminClient> {
        let token = self.admin_token.clone().map(Token::new);
        self.admin.map(|address| AdminClient { address, token, patience: PATIENCE })
    }

    /// The same, and where it names none that of a configuration. None: it is wrong, and that was
    /// printed.
    pub(super) fn admin(
        &self,
        config: &ConfigOption,
        printer: &mut Printer,
    ) -> Option<AdminClient> {
        if let Some(admin) = self.named() {
            return Some(admin);
        }
        match config.source().load(&environment()) {
            Ok(loaded) => Some(AdminClient::of(&loaded.config)),
            Err(findings) => {
                printer.findings(&findings.render(style(printer)));
                printer
                    .findings("A running gateway can be asked without it: `--admin HOST:PORT`.\n");
                None
            }
        }
    }
}

impl AdminClient {
    /// The one of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        let token = config.admin.token.clone();
        Self { address: config.admin.listen, token, patience: PATIENCE }
    }

    /// The same, for questions that take long.
    pub(super) fn patient(self) -> Self {
        Self { patience: LONG_PATIENCE, ..self }
    }

    /// What it answers to a GET.
    ///
    /// # Errors
    /// Nothing answers there in time, or not this.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
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
        let answer = async {
            let stream = self.connect().await?;
            post(stream, &self.address.to_string(), path, self.token.as_ref(), body).await
        };
        self.within(answer).await
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        TcpStream::connect(self.address).await.with_context(|| {
            let address = self.address;
            format!(
                "no gateway answers at {address}: is it running, and is `admin.listen` the same?"
            )
        })
    }

    async fn within<T: DeserializeOwned>(
        &self,
        answer: impl Future<Output = anyhow::Result<(StatusCode, bytes::Bytes)>>,
    ) -> anyhow::Result<T> {
        let (address, seconds) = (self.address, self.patience.as_secs());
        let (status, body) = timeout(self.patience, answer).await.with_context(|| {
            format!("no answer from the gateway at {address} within {seconds} s")
        })??;
        match status {
            StatusCode::OK => {
                serde_json::from_slice(&body).context("unexpected response from the gateway")
            }
            StatusCode::FORBIDDEN => {
                bail!("the gateway at {address} does not answer this address or token: see `admin`")
            }
            StatusCode::BAD_REQUEST | StatusCode::SERVICE_UNAVAILABLE => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                bail!("{}", body["message"].as_str().unwrap_or("the gateway refused the request"))
            }
            other => bail!("{address} answers {other}: is it a difygate admin listener?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_address;

    #[test]
    fn an_admin_listener_is_named_by_address_or_url() {
        for text in ["127.0.0.1:9090", "http://127.0.0.1:9090", "http://[::1]:9090/"] {
            assert!(parse_address(text).is_ok(), "{text}");
        }
        for text in ["9090", "https://127.0.0.1:9090", "gateway:9090", ""] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
