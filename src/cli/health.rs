//! `difygate health`: is the gateway alive? For health checks where there is no shell and no curl,
//! such as in the container image.

use std::time::Duration;

use anyhow::{Context, Error, bail};
use clap::Args;
use http::{StatusCode, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::config_source::ConfigOption;
use crate::cli::environment::environment;
use crate::cli::exit_status::ExitStatus;
use crate::cli::http_get::get;
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;
use crate::config::{Listening, Source};

/// An event loop that does not answer within this is not alive.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a gateway listens that no configuration says anything of.
const DEFAULT: &str = "127.0.0.1:8080";

/// Ask whether a gateway is alive.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 it answered 200 within 2 s, 1 it did not, or no gateway is there: Docker \
    takes no other code for an unhealthy container. 2 the command line is wrong.\n\
    Without --url it asks where the configuration says that it listens; behind TLS, on the admin listener.\n\
    `/health` says that the gateway is alive, `/ready` that every app has an available instance."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    chosen: ConfigOption,
    /// URL to request [default: http://ADDRESS/health, with the address in the configuration]
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    url: Option<Uri>,
}

fn parse_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    if url.scheme_str() != Some("http") || url.host().is_none_or(str::is_empty) {
        return Err("write it as `http://HOST:PORT/PATH`".to_owned());
    }
    Ok(url)
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let (url, why) = match &arguments.url {
        Some(url) => (url.clone(), None),
        None => own_url(&arguments.chosen.source())?,
    };
    let asked = asked(&url);
    match why {
        Some(why) => asked.context(why)?,
        None => asked?,
    }
    printer.line("healthy")?;
    Ok(ExitStatus::Done)
}

/// Where the gateway of a configuration answers, and why that is a guess, if it is one.
fn own_url(source: &Source) -> anyhow::Result<(Uri, Option<String>)> {
    let (address, guess) = match source.listening(&environment()) {
        Ok(Listening { listen, admin, has_tls }) => {
            let (address, key) = if has_tls { (admin, "admin.listen") } else { (listen, "listen") };
            if address.port() == 0 {
                let says = source.says(key);
                bail!(
                    "the port of {says} is 0, any that is free: name it by `--url http://HOST:PORT/health`"
                );
            }
            (address.to_string(), None)
        }
        Err(fault) => (DEFAULT.to_owned(), Some(fault)),
    };
    Ok((parse_url(&format!("http://{address}/health")).map_err(Error::msg)?, guess))
}

fn asked(url: &Uri) -> anyhow::Result<()> {
    let status = block_on(async {
        timeout(PATIENCE, ask(url)).await.with_context(|| format!("no answer from {url} in 2 s"))?
    })?;
    if status != StatusCode::OK {
        bail!("{url} answers {status}");
    }
    Ok(())
}

async fn ask(url: &Uri) -> anyhow::Result<StatusCode> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80)))
        .await
        .with_context(|| format!("nothing listens at {url}"))?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    Ok(get(stream, authority, path, None).await?.0)
}

#[cfg(test)]
mod tests {
    use super::parse_url;

    #[test]
    fn a_url_names_a_host_and_plain_http() {
        assert!(parse_url("http://127.0.0.1:8080/health").is_ok());
        assert!(parse_url("http://[::1]:8080").is_ok());
        for wrong in ["https://gateway/health", "127.0.0.1:8080", "/health", "http://", ""] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
