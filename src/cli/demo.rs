//! `difygate demo`: a Dify landscape and a gateway in one process, to try things out.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};

use anyhow::Context;
use clap::Args;
use dify_sim::{App, Dify, Mode, Release, Setup};
use tokio::net::TcpListener;

use crate::cli::environment::environment;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::cli::printer::style;
use crate::cli::serve::{Gateway, block_on};
use crate::cli::sim::pace;
use crate::cli::table::Tone;
use crate::config;
use crate::control;
use crate::telemetry::{self, Destination, Format};

const INSTANCES: usize = 3;
const CHAT_TOKEN: &str = "usertoken--customer-service-v1";
const FLOW_TOKEN: &str = "usertoken--document-summary-v1";

/// Try it out.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The gateway's port; without it 8080 if that is free, else any
    #[arg(short, long)]
    port: Option<u16>,
    /// Which Dify is simulated: 1.5, 1.12, 1.13, 1.14 or main (June 2026)
    #[arg(long, value_name = "RELEASE", default_value_t)]
    dify: Release,
}

/// Runs the demonstration until a signal ends it.
pub(super) fn run(arguments: Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    telemetry::start_error_log("info");
    block_on(async {
        let signals = control::signals()?;
        let mut instances = Vec::new();
        for number in 1..=INSTANCES {
            instances
                .push((format!("dify{number}"), start_instance(arguments.dify, number).await?));
        }
        let folder = tempfile::tempdir().context("no folder for the demo's configuration")?;
        let path = folder.path().join("difygate.yaml");
        let port = arguments.port.unwrap_or_else(|| free_or_any(8080));
        let store = folder.path().join("store").display().to_string();
        let settings = format!("store: {{ path: {} }}\n", serde_json::Value::from(store));
        fs::write(&path, configuration(port, free_or_any(9090), &instances) + &settings)?;
        let loaded = match config::load(&path, &environment()) {
            Ok(loaded) => loaded,
            Err(findings) => {
                printer.findings(&findings.render(style(printer)));
                return Ok(ExitStatus::Misused);
            }
        };
        let faults = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let faults_at = faults.local_addr()?;
        tokio::spawn(dify_sim::control(faults, instances.clone()));
        let format = if printer.is_coloured() { Format::LiveInColour } else { Format::Live };
        let log = Some((format, Destination::Stdout));
        let gateway = Gateway::start(loaded.config, path.clone(), log).await;
        let gateway = gateway.map_err(|error| ExitStatus::CouldNotRun.error(&error))?;
        printer.out(&welcome(&gateway, &instances, faults_at, &path.display().to_string()))?;
        Ok(gateway.run_until_ended(signals).await)
    })
}

async fn start_instance(release: Release, number: usize) -> anyhow::Result<Dify> {
    let setup = Setup::default()
        .with_release(release)
        .with_pace(pace(20.0))
        .with_app(App::new(Mode::Chat, format!("app-chat-{number}")))
        .with_app(App::new(Mode::Workflow, format!("app-flow-{number}")));
    Dify::start(setup).await.context("cannot start a simulated Dify")
}

/// `port` if nobody listens on it, else 0, which takes any.
fn free_or_any(port: u16) -> u16 {
    StdListener::bind((Ipv4Addr::LOCALHOST, port)).map_or(0, |_| port)
}

fn configuration(port: u16, admin_port: u16, instances: &[(String, Dify)]) -> String {
    let app = |name: &str, user_token: &str, key: &str| {
        let mut text = format!("  {name}:\n    user_tokens: [{user_token}]\n    instances:\n");
        for (number, (instance, dify)) in (1..).zip(instances) {
            let url = dify.url();
            text += &format!(
                "      - {{ name: {instance}, url: \"{url}\", token: {key}-{number}, max_concurrent: 10 }}\n"
            );
        }
        text
    };
    format!(
        "listen: 127.0.0.1:{port}\nadmin:\n  listen: 127.0.0.1:{admin_port}\napps:\n{}{}",
        app("customer_service", CHAT_TOKEN, "app-chat"),
        app("document_summary", FLOW_TOKEN, "app-flow"),
    )
}

fn welcome(
    gateway: &Gateway,
    instances: &[(String, Dify)],
    faults_at: SocketAddr,
    path: &str,
) -> String {
    let (listen, admin) = (gateway.listen(), gateway.admin());
    let places: Vec<_> =
        instances.iter().map(|(name, dify)| format!("{name} {}", dify.url())).collect();
    let title = |text: &str| Tone::Head.paint(text);
    let dify = |token: &str, body: &str| {
        format!(
            "-H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\\n    -d '{body}'"
        )
    };
    format!(
        r#"difygate serves two apps over three simulated Dify instances ({places}).
Configuration: {path}

{chat}
  curl -N http://{listen}/v1/chat-messages \
    {chat_body}

{blocking}
  curl http://{listen}/v1/chat-messages \
    {blocking_body}

{openai}
  curl http://{listen}/v1/chat/completions \
    {openai_body}

{anthropic}
  curl http://{listen}/v1/messages \
    -H 'x-api-key: {CHAT_TOKEN}' -H 'anthropic-version: 2023-06-01' \
    -H 'Content-Type: application/json' \
    -d '{{"model": "customer_service", "max_tokens": 1024, "messages": [{{"role": "user", "content": "hello"}}]}}'

{workflow}
  echo hello > /tmp/hello.txt
  curl http://{listen}/v1/files/upload -H 'Authorization: Bearer {CHAT_TOKEN}' \
    -F file=@/tmp/hello.txt -F user=alice
  curl http://{listen}/v1/workflows/run \
    {workflow_body}

{fault}
  curl -X POST http://{faults_at}/instances/dify1/fault -d '{{"fault": "refused"}}'
  curl -X POST http://{faults_at}/instances/dify1/fault -d '{{"fault": "none"}}'

Status: {program} status --watch --admin {admin}   Metrics: curl http://{admin}/metrics
Ctrl-C ends it.

{log}
"#,
        chat = title("A chat turn, streamed:"),
        chat_body = dify(
            CHAT_TOKEN,
            r#"{"inputs": {}, "query": "What can you do for me?", "response_mode": "streaming", "user": "alice"}"#
        ),
        blocking = title("The same, blocking, for another user:"),
        blocking_body = dify(
            CHAT_TOKEN,
            r#"{"inputs": {}, "query": "hello", "response_mode": "blocking", "user": "bob"}"#
        ),
        openai = title("As an OpenAI client asks, whose model is the app:"),
        openai_body = dify(
            CHAT_TOKEN,
            r#"{"model": "customer_service", "user": "carol", "messages": [{"role": "user", "content": "hello"}]}"#
        ),
        anthropic = title("As an Anthropic client asks:"),
        workflow = title("A file, and a workflow:"),
        workflow_body = dify(
            FLOW_TOKEN,
            r#"{"inputs": {"text": "hello"}, "response_mode": "blocking", "user": "alice"}"#
        ),
        fault = title("Break an instance, watch its users move, and mend it:"),
        log = title("Who answers whom (times are in UTC):"),
        places = places.join(", "),
        program = std::env::args().next().unwrap_or_else(|| "difygate".to_owned()),
    )
}
