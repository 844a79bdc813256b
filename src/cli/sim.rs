//! `difygate sim`: simulated Dify instances to test against.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use dify_sim::{App, Dify, Flow, Pace, Release, Setup, Unknown};
use tokio::net::TcpListener;

use crate::cli::exit_status::{CommandError, ExitStatus};
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;
use crate::control;

/// Run simulated Dify instances.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
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
    /// Which Dify it is: 1.5, 1.12, 1.13, 1.14 or main (June 2026)
    #[arg(long, value_name = "RELEASE", default_value_t)]
    dify: Release,
    /// An app of every instance, as `mode=key` or `mode:flow=key`; may be given several times
    #[arg(short, long = "app", value_name = "MODE[:FLOW]=KEY", value_parser = parse_app,
        default_values = ["chat=app-chat", "advanced-chat=app-chatflow", "workflow=app-workflow"])]
    apps: Vec<App>,
    /// A key for the dataset routes of every instance; may be given several times
    #[arg(long = "dataset-key", value_name = "KEY")]
    dataset_keys: Vec<String>,
    /// The instances share one database and one worker, as several API servers of one Dify do
    #[arg(long)]
    shared: bool,
    /// An nginx stands in front of each instance, as Dify's Compose file has it
    #[arg(long)]
    nginx: bool,
    /// Connections that each instance serves at a time; further ones hang, as at a real Dify
    #[arg(long, default_value_t = 10, value_parser = parse_places)]
    slots: usize,
    /// Flows that an instance streams at a time in its worker, from 1.13 on; further ones queue
    /// [default: 1 for 1.13, 4 for 1.14 and main]
    #[arg(long, value_name = "NUMBER", value_parser = parse_places)]
    workers: Option<usize>,
    /// Tokens per second of a streamed answer
    #[arg(long, default_value_t = 20.0)]
    tokens_per_second: f64,
}

const AFTER_HELP: &str = "\
Modes of apps: chat, agent-chat, advanced-chat (a chatflow), completion, workflow, agent.
Flows: echo (of advanced-chat and workflow, unless said), llm (of the others), slow, slow-first,
files, failing, greeting, human-input, iteration, loop, parallel, default-value, fail-branch, retry,
no-model, unpublished.

Faults are set at run time:
  curl -X POST http://CONTROL/instances/dify1/fault -d '{\"fault\": \"frozen\"}'
  curl -X POST http://CONTROL/instances/dify1/fault -d '{\"fault\": \"status\", \"value\": 503}'
  curl -X POST http://CONTROL/instances/dify1/fault -d '{\"fault\": \"none\"}'

There are: frozen, black_hole, refused, stopped, killed, reset, close_after_request, half_head,
half_body, garbage, database_down, redis_down, worker_killed, worker_absent (both from 1.13 on), and
with a value cut_after (bytes), status and run_status (200 to 599; the latter only for calls that
start a run), slow (milliseconds).

What reached the models, and how it ended: curl http://CONTROL/instances/dify1/runs";

fn parse_app(text: &str) -> Result<App, String> {
    let (kind, key) = text.split_once('=').ok_or("write it as `chat=app-one`")?;
    if key.is_empty() {
        return Err("the key after `=` is empty".to_owned());
    }
    let (mode, flow) = match kind.split_once(':') {
        Some((mode, flow)) => (mode, Some(flow)),
        None => (kind, None),
    };
    let mode = mode.parse().map_err(|unknown: Unknown| unknown.to_string())?;
    let app = App::new(mode, key);
    match flow {
        Some(flow) => {
            let flow: Flow = flow.parse().map_err(|unknown: Unknown| unknown.to_string())?;
            if flow.is_of(mode) {
                return Ok(app.with_flow(flow));
            }
            let there = Flow::ALL.into_iter().filter(|flow| flow.is_of(mode)).map(Flow::name);
            let there: Vec<_> = there.collect();
            Err(format!("an app of this mode has no such flow; there are: {}", there.join(", ")))
        }
        None => Ok(app),
    }
}

fn parse_places(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1000) => Ok(number),
        _ => Err("it is a whole number between 1 and 1000".to_owned()),
    }
}

/// Simulates until a signal ends it.
pub(super) fn run(arguments: Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    if !(arguments.tokens_per_second.is_finite() && arguments.tokens_per_second > 0.0) {
        printer.error("`--tokens-per-second` must be above 0");
        return Ok(ExitStatus::Misused);
    }
    block_on(async {
        let mut signals = control::signals()?;
        let mut instances: Vec<(String, Dify)> = Vec::new();
        let apps: Vec<_> = arguments.apps.iter().map(|app| app.key.as_str()).collect();
        for number in 1..=arguments.instances {
            let first = instances.first().map(|(_, dify)| dify);
            let dify = start(&arguments, number, first.filter(|_| arguments.shared)).await?;
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

/// Starts an instance, over the database of another one if that is given.
async fn start(arguments: &Arguments, number: u16, beside: Option<&Dify>) -> anyhow::Result<Dify> {
    let port = match arguments.port {
        0 => 0,
        first => first.checked_add(number - 1).context("the ports end at 65535")?,
    };
    let listen = SocketAddr::new(arguments.listen, port);
    let started = match beside {
        Some(other) => other.start_beside(listen).await,
        None => Dify::start(setup(arguments).with_listen(listen)).await,
    };
    started.map_err(|error| {
        let text = format!("cannot listen on {listen}: {error}");
        CommandError::of(ExitStatus::CouldNotRun, text)
    })
}

fn setup(arguments: &Arguments) -> Setup {
    let mut setup = Setup::default()
        .with_release(arguments.dify)
        .with_slots(arguments.slots)
        .with_pace(pace(arguments.tokens_per_second));
    setup.workers = arguments.workers;
    if arguments.nginx {
        setup = setup.with_nginx();
    }
    for key in &arguments.dataset_keys {
        setup = setup.with_dataset_key(key);
    }
    arguments.apps.iter().cloned().fold(setup, Setup::with_app)
}

/// A pace of so many tokens per second.
pub(super) fn pace(tokens_per_second: f64) -> Pace {
    Pace { between_tokens: Duration::from_secs_f64(1.0 / tokens_per_second), ..Pace::default() }
}

#[cfg(test)]
mod tests {
    use dify_sim::{Flow, Mode};

    use super::{AFTER_HELP, parse_app};

    #[test]
    fn an_app_is_a_mode_perhaps_a_flow_and_a_key() {
        let app = parse_app("advanced-chat:human-input=app-one").unwrap();
        assert_eq!((app.mode, app.flow), (Mode::AdvancedChat, Flow::HumanInput));
        assert_eq!(app.key, "app-one");
        let app = parse_app("workflow=a=b").unwrap();
        assert_eq!((app.mode, app.flow, app.key.as_str()), (Mode::Workflow, Flow::Echo, "a=b"));
        for (wrong, right) in [
            ("workflow:loop=a", "there are: echo, llm"),
            ("chat:human-input=a", "there are: llm, no-model"),
            ("chat", "chat=app-one"),
            ("chat=", "empty"),
            ("chatflow=a", "advanced-chat"),
            ("advanced-chat:human=a", "human-input"),
        ] {
            let said = parse_app(wrong).unwrap_err();
            assert!(said.contains(right), "{wrong}: {said}");
        }
    }

    #[test]
    fn the_help_names_every_mode_and_flow() {
        let words: Vec<_> =
            AFTER_HELP.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').collect();
        for name in Mode::ALL.map(Mode::name).into_iter().chain(Flow::ALL.map(Flow::name)) {
            assert!(words.contains(&name), "{name}");
        }
    }
}
