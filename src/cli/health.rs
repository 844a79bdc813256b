//! `difygate health`: is the gateway alive? For health checks where there is no shell and no curl,
//! such as in the container image.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http::{StatusCode, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::exit_status::ExitStatus;
use crate::cli::http_get::get;
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;

/// An event loop that does not answer within this is not alive.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ask whether a gateway is alive.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it answered 200 within 2 s, 1 it did not.\n\
    `/health` says that the gateway is alive, `/ready` that every app has an available instance.")]
pub(super) struct Arguments {
    /// URL to request
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/health", value_parser = parse_url)]
    url: Uri,
}

fn parse_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    if url.scheme_str() != Some("http") || url.host().is_none_or(str::is_empty) {
        return Err("write it as `http://HOST:PORT/PATH`".to_owned());
    }
    Ok(url)
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let url = &arguments.url;
    let status = block_on(async {
        timeout(PATIENCE, ask(url)).await.with_context(|| format!("no answer from {url} in 2 s"))?
    })?;
    if status != StatusCode::OK {
        bail!("{url} answers {status}");
    }
    printer.line("healthy")?;
    Ok(ExitStatus::Done)
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
