//! `difygate sim`: simulated Dify instances to test against.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use dify_sim::{App, Dify, Mode, Pace, Release, Setup};
use tokio::net::TcpListener;

use crate::cli::ExitStatus;
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;
use crate::control;

/// Run simulated Dify instances.
#[derive(Debug, Args)]
#[command(after_help = "Faults are set at run time:\n  \
    curl -X POST http://CONTROL/instances/dify1/fault -d '{\"fault\": \"frozen\"}'\n  \
    curl -X POST http://CONTROL/instances/dify1/fault -d '{\"fault\": \"status\", \"value\": 503}'\n  \
    curl -X POST http://CONTROL/instances/dify1/fault -d '{\"fault\": \"none\"}'\n\n\
    There are: frozen, black_hole, refused, stopped, killed, reset, close_after_request, half_head,\n\
    half_body, garbage, database_down, redis_down, and with a value cut_after (bytes), status and\n\
    run_status (200 to 599; the latter only for calls that start a run), slow (milliseconds).\n\n\
    What reached the models, and how it ended: curl http://CONTROL/instances/dify1/runs")]
pub(super) struct Arguments {
    /// How many instances, named dify1, dify2, …
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    instances: u16,
    /// Address that the instances listen on, such as 0.0.0.0 in a container
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Port of the first instance; the others follow. 0 takes free ports
    #[arg(short, long, default_value_t = 5001)]
    port: u16,
    /// Port of the control server on loopback; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// An app of every instance, as `mode=key`; may be given several times
    #[arg(short, long = "app", value_name = "MODE=KEY", value_parser = parse_app,
        default_values = ["chat=app-chat", "advanced-chat=app-chatflow", "workflow=app-workflow"])]
    apps: Vec<(AppMode, String)>,
    /// Connections that each instance serves at a time; further ones hang, as at a real Dify
    #[arg(long, default_value_t = 10)]
    slots: usize,
    /// Tokens per second of a streamed answer
    #[arg(long, default_value_t = 20.0)]
    tokens_per_second: f64,
    /// Which Dify it is: 1.5, 1.12, 1.13, 1.14 or main (June 2026)
    #[arg(long, value_name = "RELEASE", default_value_t)]
    dify: Release,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AppMode {
    Chat,
    AgentChat,
    AdvancedChat,
    Completion,
    Workflow,
    Agent,
}

impl From<AppMode> for Mode {
    fn from(mode: AppMode) -> Self {
        match mode {
            AppMode::Chat => Self::Chat,
            AppMode::AgentChat => Self::AgentChat,
            AppMode::AdvancedChat => Self::AdvancedChat,
            AppMode::Completion => Self::Completion,
            AppMode::Workflow => Self::Workflow,
            AppMode::Agent => Self::Agent,
        }
    }
}

fn parse_app(text: &str) -> Result<(AppMode, String), String> {
    let (mode, key) = text.split_once('=').ok_or("write it as `chat=app-one`")?;
    if key.is_empty() {
        return Err("the key after `=` is empty".to_owned());
    }
    let modes = "chat, agent-chat, advanced-chat, completion, workflow, agent";
    let mode = AppMode::from_str(mode, true).map_err(|_| format!("the modes are {modes}"))?;
    Ok((mode, key.to_owned()))
}

/// Simulates until a signal ends it.
pub(super) fn run(arguments: Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    if !(arguments.tokens_per_second.is_finite() && arguments.tokens_per_second > 0.0) {
        printer.error("`--tokens-per-second` must be above 0");
        return Ok(ExitStatus::Misused);
    }
    block_on(async {
        let mut signals = control::signals()?;
        let mut instances = Vec::new();
        for number in 1..=arguments.instances {
            let dify = start(&arguments, number).await?;
            let apps: Vec<_> = arguments.apps.iter().map(|(_, key)| key.as_str()).collect();
            printer.line(&format!("dify{number}  {}  keys {}", dify.url(), apps.join(" ")))?;
            instances.push((format!("dify{number}"), dify));
        }
        let control = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.control_port))
            .await
            .with_context(|| format!("cannot listen on port {}", arguments.control_port))?;
        printer.line(&format!("control http://{}/instances", control.local_addr()?))?;
        tokio::select! {
            ended = dify_sim::control(control, instances) => ended.context("the control server ended")?,
            _ = signals.next() => {}
        }
        Ok(ExitStatus::Done)
    })
}

async fn start(arguments: &Arguments, number: u16) -> anyhow::Result<Dify> {
    let port = match arguments.port {
        0 => 0,
        first => first.checked_add(number - 1).context("the ports end at 65535")?,
    };
    let listen = SocketAddr::new(arguments.listen, port);
    let mut setup = Setup::default()
        .with_listen(listen)
        .with_release(arguments.dify)
        .with_slots(arguments.slots)
        .with_pace(pace(arguments.tokens_per_second));
    for (mode, key) in &arguments.apps {
        setup = setup.with_app(App::new((*mode).into(), key.as_str()));
    }
    Dify::start(setup).await.with_context(|| format!("cannot listen on {listen}"))
}

/// A pace of so many tokens per second.
pub(super) fn pace(tokens_per_second: f64) -> Pace {
    Pace { between_tokens: Duration::from_secs_f64(1.0 / tokens_per_second), ..Pace::default() }
}
