//! `difygate explain`: where a user's request would go, and why.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::cli::admin_client::AdminOption;
use crate::cli::config_source::ConfigOption;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;
use crate::cli::table::{Cell, Tone, table};

/// Show which instance a user's requests go to, and why.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("which").required(true).multiple(true).args(["token", "token_file", "app"])),
    after_help = "Nothing is sent to an instance. Exit codes: 0 an instance would be asked, 1 none \
    would be, 2 the command line or the configuration is wrong, 3 no gateway answers, 5 it refuses the token or \
    the address."
)]
pub(super) struct Arguments {
    /// The user; absent: a request without one
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The client's user token; other users of this machine can see it in the process list
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the client's user token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The app, instead of the token or to choose among the apps of the token
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The conversation that the request continues
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// The client's address, for apps with `ip_hash`
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    #[command(flatten)]
    chosen: ConfigOption,
    #[command(flatten)]
    reach: AdminOption,
    /// Print the explanation as JSON
    #[arg(long)]
    json: bool,
}

/// Asks a gateway and prints what it says.
pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let token = match &arguments.token_file {
        None => arguments.token.clone(),
        Some(path) => {
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read {}", path.display()));
            let text = text.map_err(|error| ExitStatus::Misused.error(&error))?;
            Some(text.trim().to_owned())
        }
    };
    let Some(admin) = arguments.reach.admin(&arguments.chosen, printer) else {
        return Ok(ExitStatus::Misused);
    };
    let question = json!({
        "token": token,
        "app": arguments.app,
        "user": arguments.user,
        "conversation": arguments.conversation,
        "address": arguments.address,
    });
    let answer: Value = block_on(admin.ask("/explain", &question))?;
    if arguments.json {
        printer.line(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        printer.out(&text(&answer))?;
    }
    let nobody = answer["asked"].as_array().is_none_or(Vec::is_empty);
    Ok(if nobody { ExitStatus::Failed } else { ExitStatus::Done })
}

fn text(answer: &Value) -> String {
    let asked: Vec<_> = list(&answer["asked"]).map(plain).collect();
    let mut text = headline(answer, asked.first().copied());
    // Writing to a string does not fail.
    let _ = writeln!(text, "\n{}", key(answer));
    if let Some(id) = answer["conversation"].as_str() {
        let _ = match answer["owner"].as_str() {
            Some(owner) => writeln!(text, "Conversation {id} is on {owner}."),
            None => writeln!(
                text,
                "Conversation {id}: which instance has it is not known. A turn asks all at once and goes to the one \
                 that has it; other requests ask in turn."
            ),
        };
    }
    text.push('\n');
    text.push_str(&instances(answer));
    for instance in list(&answer["instances"]) {
        let name = plain(&instance["name"]);
        if let Some(reason) = instance["reason"].as_str() {
            let _ = writeln!(text, "\n{name}: {reason}");
        }
        if instance["above_max_load"] == true {
            let _ = writeln!(
                text,
                "\n{name}: more to do than max_load allows, so new work passes it over"
            );
        }
    }
    if let [first, more @ ..] = &asked[..] {
        let _ = write!(text, "\n{}", when_full(answer, first, more.first().copied()));
        let _ = write!(text, "{}", if_it_died(answer, first, more.first().copied()));
    }
    text
}

fn headline(answer: &Value, first: Option<&str>) -> String {
    let app = plain(&answer["app"]);
    let who = match (answer["key"].is_null(), answer["user"].as_str(), answer["address"].as_str()) {
        (true, ..) => format!("A request to {app}"),
        (false, Some(user), _) if answer["method"] != "ip_hash" => format!("{user} of {app}"),
        (false, _, address) => format!("A client at {} of {app}", address.unwrap_or("-")),
    };
    if answer["owner_out"] == true {
        let owner = plain(&answer["owner"]);
        return match plain(&answer["on_owner_down"]) {
            "queue" => format!("{who} waits for {owner}, which has the conversation and is out.\n"),
            "restart" => format!(
                "{who} begins a new conversation elsewhere: {owner}, which has this one, is out.\n"
            ),
            _ => format!("{who} gets 503: {owner}, which has the conversation, is out.\n"),
        };
    }
    match first {
        None => format!("{who} gets 503: all instances are out, and last_resort is refuse.\n"),
        Some(first) if all_out(answer) => {
            format!("{who} goes to {first}: all are out, so they are tried anyway.\n")
        }
        Some(first) => {
            let own = list(&answer["instances"]).find(|instance| instance["status"] != "draining");
            let own = own.map(|instance| plain(&instance["name"]));
            let is_keyed = !answer["key"].is_null() && answer["owner"].is_null();
            match own.filter(|own| *own != first && is_keyed) {
                Some(own) => {
                    format!("{who} goes to {first} now, and to {own} as soon as it can be asked.\n")
                }
                None => format!("{who} goes to {first}.\n"),
            }
        }
    }
}

fn key(answer: &Value) -> String {
    let method = plain(&answer["method"]);
    match (answer["key"].as_str(), answer["hash_algorithm"].as_str()) {
        (Some(key), Some(hash)) => format!("Key `{key}`, {method} with {hash}."),
        (None, Some(_)) => {
            "No user, so no instance of its own: the least busy is asked.".to_owned()
        }
        _ => format!("No user has an instance of their own: {method}."),
    }
}

fn instances(answer: &Value) -> String {
    let rows = list(&answer["instances"]).zip(1..).map(|(instance, rank)| {
        let asked = match (&instance["turn"], &instance["passed_over"]) {
            (Value::Number(turn), _) => Cell::new(format!("as no. {turn}"), Tone::Good),
            (_, Value::String(why)) => Cell::new(format!("no: {why}"), Tone::Odd),
            _ => "no".into(),
        };
        [
            format!("{rank}").into(),
            plain(&instance["name"]).into(),
            asked,
            plain(&instance["status"]).into(),
            instance["in_flight"].to_string().into(),
            format!("{}/{}", instance["connections"], instance["max_concurrent"]).into(),
            format!("{}/{}", instance["waiting"], instance["queue"]).into(),
            plain(&instance["address"]).into(),
        ]
    });
    table(
        ["#", "INSTANCE", "ASKED", "STATUS", "IN FLIGHT", "SLOTS", "WAITING", "ADDRESS"],
        rows.collect(),
    )
}

fn when_full(answer: &Value, first: &str, next: Option<&str>) -> String {
    let find = |instance: &&Value| instance["name"] == first;
    let Some(instance) = list(&answer["instances"]).find(find) else { return String::new() };
    let number = |key: &str| instance[key].as_u64().unwrap_or(0);
    if number("connections") < number("max_concurrent") {
        return String::new();
    }
    match (plain(&answer["when_full"]), next) {
        ("goes_on", Some(next)) => {
            format!("All slots of {first} are taken: what does not need it goes on to {next}.\n")
        }
        _ if number("waiting") >= number("queue") => {
            format!("All slots of {first} are taken and its queue is full: 429 with Retry-After.\n")
        }
        _ => format!("All slots of {first} are taken: the request waits there for one.\n"),
    }
}

fn if_it_died(answer: &Value, first: &str, next: Option<&str>) -> String {
    if answer["owner"].is_string() {
        let rule = plain(&answer["on_owner_down"]);
        let then = match rule {
            "queue" => "what needs it waits for it, and gets 503 after `queue.timeout`",
            "restart" => "a turn begins a new conversation elsewhere, anything else gets 503",
            _ => "what needs it gets 503",
        };
        return format!("If {first} died now: {then} (`on_owner_down: {rule}`).\n");
    }
    let Some(next) = next.filter(|_| !all_out(answer)) else {
        return format!("If {first} cannot be reached, the client gets 502.\n");
    };
    let mut text = format!(
        "If {first} died now: GETs, and what was certainly not sent, go to {next}. A POST that {first} may \
         have executed gets 502 and is not sent again.\n"
    );
    if !answer["key"].is_null() {
        let _ = writeln!(
            text,
            "What comes later goes to {next} until {first} is back; till then conversations on {first} are \
             out of reach."
        );
    }
    text
}

fn all_out(answer: &Value) -> bool {
    list(&answer["instances"]).all(|instance| instance["status"] != "healthy")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    use super::text;

    fn instance(name: &str, turn: Option<u32>, connections: u32) -> Value {
        let reason = turn.is_none().then_some("connection refused; out for 9 s more");
        let status = if turn.is_some() { "healthy" } else { "unhealthy" };
        json!({ "name": name, "address": "10.0.0.1:5001", "turn": turn, "passed_over": turn.is_none().then_some("ejected"),
            "status": status, "reason": reason, "above_max_load": false, "weight": 1, "in_flight": 3,
            "connections": connections, "max_concurrent": 10, "waiting": 0, "queue": 100 })
    }

    #[test]
    fn it_says_who_is_asked_why_and_what_comes_next() {
        let answer = json!({
            "app": "shop", "user": "alice", "method": "consistent_hash", "hash_algorithm": "sha256",
            "key": "shop:alice", "conversation": "c1", "owner": null, "asked": ["dify2", "dify3"],
            "when_full": "waits",
            "instances": [instance("dify1", None, 0), instance("dify2", Some(1), 10),
                instance("dify3", Some(2), 1)],
        });
        insta::assert_snapshot!(strip_str(&text(&answer)).to_string(), @r"
        alice of shop goes to dify2 now, and to dify1 as soon as it can be asked.

        Key `shop:alice`, consistent_hash with sha256.
        Conversation c1: which instance has it is not known. A turn asks all at once and goes to the one that has it; other requests ask in turn.

        #  INSTANCE  ASKED        STATUS     IN FLIGHT  SLOTS  WAITING  ADDRESS
        1  dify1     no: ejected  unhealthy  3          0/10   0/100    10.0.0.1:5001
        2  dify2     as no. 1     healthy    3          10/10  0/100    10.0.0.1:5001
        3  dify3     as no. 2     healthy    3          1/10   0/100    10.0.0.1:5001

        dify1: connection refused; out for 9 s more

        All slots of dify2 are taken: the request waits there for one.
        If dify2 died now: GETs, and what was certainly not sent, go to dify3. A POST that dify2 may have executed gets 502 and is not sent again.
        What comes later goes to dify3 until dify2 is back; till then conversations on dify2 are out of reach.
        ");
    }

    #[test]
    fn it_says_that_nobody_is_asked() {
        let answer = json!({
            "app": "shop", "user": null, "method": "least_connections", "hash_algorithm": null,
            "key": null, "conversation": null, "owner": null, "asked": [], "when_full": "goes_on",
            "instances": [instance("dify1", None, 0)],
        });
        insta::assert_snapshot!(strip_str(&text(&answer)).to_string(), @r"
        A request to shop gets 503: all instances are out, and last_resort is refuse.

        No user has an instance of their own: least_connections.

        #  INSTANCE  ASKED        STATUS     IN FLIGHT  SLOTS  WAITING  ADDRESS
        1  dify1     no: ejected  unhealthy  3          0/10   0/100    10.0.0.1:5001

        dify1: connection refused; out for 9 s more
        ");
    }
}
