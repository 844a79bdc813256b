//! `difygate plan`: what a new configuration would change, before it does.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueHint};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::admin_client::AdminOption;
use crate::cli::config_source::ConfigOption;
use crate::cli::environment::environment;
use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::cli::printer::style;
use crate::cli::serve::block_on;
use crate::config::{Config, Environment, FlatConfig, Loaded, Missing, Source, flatten, mark};
use crate::control::plan::Moves;
use crate::control::plan::{
    Answer, AppChange, Change, Changes, Fate, InstanceChange, Question, SAMPLE, plan,
};

/// Ways of users that are printed for an app; the rest is summed up.
const MOST_WAYS: usize = 6;

/// Show what a new configuration would change.
#[derive(Debug, Args)]
#[command(
    after_help = "Compares with the running gateway: that at the `admin.listen` of FILE, unless --admin names \
    another. No secret is sent in either direction, only whether secrets are equal; those that are not set here \
    are not compared.\n\
    Exit codes: 0 printed, 1 an app moves more than --max-moved, 2 the command line or a configuration is \
    wrong, 3 no gateway answers, 5 it refuses the token or the address."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    new: ConfigOption,
    /// Compare with this file instead of a running gateway
    #[arg(long, value_name = "CURRENT", value_hint = ValueHint::FilePath, conflicts_with = "admin")]
    from: Option<PathBuf>,
    #[command(flatten)]
    reach: AdminOption,
    /// Fail if more than this share of an app's users would move to another instance; a removed app
    /// moves all its users
    #[arg(long, value_name = "PERCENT", value_parser = parse_share)]
    max_moved: Option<f64>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

fn parse_share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).trim_end().parse::<f64>().ok();
    let share = percent.filter(|percent| (0.0..=100.0).contains(percent));
    share.map(|percent| percent / 100.0).ok_or_else(|| "write it as `10%`".to_owned())
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let source = arguments.new.source();
    let Some(loaded) = load(&source, printer) else { return Ok(ExitStatus::Misused) };
    let (new, unset) = (loaded.config, loaded.unset);
    let salt = Uuid::new_v4().to_string();
    let flat = |config: &Config| flatten(config, &|secret| Some(mark(&salt, secret)));
    let mut wanted = flat(&new);
    let (against, runs) = match &arguments.from {
        Some(path) => {
            let Some(old) = load(&path.clone().into(), printer) else {
                return Ok(ExitStatus::Misused);
            };
            (path.display().to_string(), (flat(&old.config), None))
        }
        None => {
            // A secret that is not known here is no mark to compare by.
            let stand_ins: Vec<_> = unset.secrets.iter().map(ToString::to_string).collect();
            let is_known =
                |secret: &&str| !stand_ins.iter().any(|unknown| secret.contains(unknown));
            wanted = flatten(&new, &|secret| {
                Some(secret).filter(is_known).map(|secret| mark(&salt, secret))
            });
            let admin = arguments.reach.named().unwrap_or_else(|| arguments.reach.of(&new.admin));
            let known = wanted.marks().map(str::to_owned).collect();
            let question = Question { salt: salt.clone(), known };
            let answer: Answer = block_on(admin.ask("/shape", &question)).map_err(|error| {
                error.context(
                    "cannot compare with a running gateway; `--from CURRENT` compares with a file",
                )
            })?;
            (format!("the gateway at {}", admin.address), (answer.shape, Some(answer.in_flight)))
        }
    };
    let (old, in_flight): (FlatConfig, _) = runs;
    if in_flight.is_some() {
        wanted.take_unknown_from(&old);
    }
    let changes = plan(&old, &wanted, in_flight.as_ref(), SAMPLE).map_err(|what| anyhow!(what))?;
    let too_many = arguments.max_moved.map_or_else(Vec::new, |most| too_many(&changes, most));
    if arguments.json {
        let mut report =
            json!({ "against": against, "changes": changes, "not_known": unset.names });
        if arguments.max_moved.is_some() {
            report["moves_too_many"] = json!(names(&too_many));
        }
        printer.line(&serde_json::to_string_pretty(&report)?)?;
    } else {
        printer.out(&text(&changes, &source, &against))?;
        if !unset.names.is_empty() {
            let names: Vec<_> = unset.names.iter().map(String::as_str).collect();
            printer.line(&format!("\nNot known here, and not compared: {}", names.join(", ")))?;
        }
    }
    for app in &too_many {
        let (share, most) =
            (percent(app.moved_share()), percent(arguments.max_moved.unwrap_or(0.0)));
        let app = &app.app;
        printer.error(&format!(
            "{share} of the users of {app} would lose their instance; --max-moved allows {most}"
        ));
    }
    Ok(if too_many.is_empty() { ExitStatus::Done } else { ExitStatus::Failed })
}

/// A configuration; the secrets in it need not be known.
fn load(source: &Source, printer: &mut Printer) -> Option<Loaded> {
    match source.load(&Environment { missing: Missing::Secrets, ..environment() }) {
        Ok(loaded) => {
            if !loaded.warnings.is_empty() {
                printer.findings(&loaded.warnings.render(style(printer)));
            }
            Some(loaded)
        }
        Err(findings) => {
            printer.findings(&findings.render(style(printer)));
            None
        }
    }
}

fn too_many(changes: &Changes, most: f64) -> Vec<&AppChange> {
    changes.apps.iter().filter(|app| app.moved_share() > most).collect()
}

fn names(apps: &[&AppChange]) -> Vec<String> {
    apps.iter().map(|app| app.app.to_string()).collect()
}

fn text(changes: &Changes, new: &Source, against: &str) -> String {
    let mut text = format!("{new} against {against}\n");
    let nothing = changes.apps.is_empty() && changes.settings.is_empty();
    if nothing {
        text.push_str("\nNothing changes.\n");
    }
    // Writing to a string does not fail.
    for app in &changes.apps {
        let _ = writeln!(text, "\n{} app {}", app.fate.sign(), app.app);
        settings(&mut text, "    ", &app.settings);
        for instance in &app.instances {
            let _ = write!(text, "{}", shown(instance));
        }
        let _ = writeln!(text, "    {}", users(app));
        if let Some(Moves::Counted { sample, between, .. }) = &app.moves {
            for way in between.iter().take(MOST_WAYS) {
                let share = percent(f64::from(way.users) / f64::from(*sample));
                let _ = writeln!(text, "      {share:>7}  {} -> {}", way.from, way.to);
            }
            if let Some(more) = between.len().checked_sub(MOST_WAYS).filter(|more| *more > 0) {
                let _ = writeln!(text, "               and {more} more ways");
            }
        }
    }
    if !changes.settings.is_empty() {
        text.push_str("\n~ for all apps\n");
        settings(&mut text, "    ", &changes.settings);
    }
    if !changes.needs_restart.is_empty() {
        let _ = writeln!(text, "\nOnly after a restart: {}", changes.needs_restart.join(", "));
    }
    text
}

fn settings(text: &mut String, indent: &str, changes: &[Change]) {
    let value = |value: &Option<Value>| match value {
        None => "not set".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    for change in changes {
        let key = if change.key == "url" { "address" } else { &change.key };
        let (from, to) = (value(&change.from), value(&change.to));
        let _ = match from == to {
            // Secrets, of which it is only known that they differ.
            true => writeln!(text, "{indent}{key}: changed"),
            false => writeln!(text, "{indent}{key}: {from} -> {to}"),
        };
    }
}

fn shown(instance: &InstanceChange) -> String {
    let InstanceChange { instance: name, fate, address, settings: changes, draining } = instance;
    let mut text = format!("  {} instance {name} at {address}\n", fate.sign());
    settings(&mut text, "      ", changes);
    match draining {
        Some(1) => text.push_str("      1 request under way there ends first\n"),
        Some(count @ 2..) => {
            let _ = writeln!(text, "      {count} requests under way there end first");
        }
        Some(0) | None => {}
    }
    text
}

fn users(app: &AppChange) -> String {
    match (app.fate, &app.moves) {
        (Fate::Added, _) => "It is new: no users yet.".to_owned(),
        (Fate::Removed, _) => "Its tokens are refused: all of its users lose it.".to_owned(),
        (Fate::Changed, None | Some(Moves::NoHomes)) => {
            "No user has an instance of their own.".to_owned()
        }
        (Fate::Changed, Some(Moves::HomesGained)) => {
            "Each user gets an instance of their own; now no user has one.".to_owned()
        }
        (Fate::Changed, Some(Moves::HomesLost)) => {
            "No user keeps an instance of their own: conversations are lost to their users."
                .to_owned()
        }
        (Fate::Changed, Some(Moves::Counted { moved: 0, .. })) => "No user moves.".to_owned(),
        (Fate::Changed, Some(moves @ Moves::Counted { .. })) => {
            format!("{} of its users move:", percent(moves.share()))
        }
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

#[cfg(test)]
mod tests {
    use crate::config::Source;

    use super::{AppChange, Changes, Fate, InstanceChange, Moves, parse_share, text};
    use crate::control::plan::Move;

    fn app(name: &str, fate: Fate, moves: Option<Moves>, draining: &[u64]) -> AppChange {
        let instances = draining.iter().zip(1..).map(|(count, number)| InstanceChange {
            instance: format!("dify{number}").into(),
            fate: Fate::Removed,
            address: "10.0.0.1:5001".into(),
            settings: vec![],
            draining: Some(*count),
        });
        let instances = instances.collect();
        AppChange { app: name.into(), fate, settings: vec![], instances, moves }
    }

    #[test]
    fn it_says_what_drains_and_what_becomes_of_users() {
        let way = |users| Move { from: "a".into(), to: "b".into(), users };
        let between = (0..8).map(|_| way(10)).collect();
        let counted = Moves::Counted { sample: 20_000, moved: 80, between };
        let changes = Changes {
            apps: vec![
                app("shop", Fate::Changed, Some(counted), &[0, 1, 12]),
                app("new", Fate::Added, None, &[]),
                app("old", Fate::Removed, None, &[]),
                app("turns", Fate::Changed, Some(Moves::NoHomes), &[]),
                app("lost", Fate::Changed, Some(Moves::HomesLost), &[]),
            ],
            ..Changes::default()
        };
        insta::assert_snapshot!(text(&changes, &Source::File("new.yaml".into()), "old.yaml"), @r"
        new.yaml against old.yaml

        ~ app shop
          - instance dify1 at 10.0.0.1:5001
          - instance dify2 at 10.0.0.1:5001
              1 request under way there ends first
          - instance dify3 at 10.0.0.1:5001
              12 requests under way there end first
            0.4 % of its users move:
              < 0.1 %  a -> b
              < 0.1 %  a -> b
              < 0.1 %  a -> b
              < 0.1 %  a -> b
              < 0.1 %  a -> b
              < 0.1 %  a -> b
                       and 2 more ways

        + app new
            It is new: no users yet.

        - app old
            Its tokens are refused: all of its users lose it.

        ~ app turns
            No user has an instance of their own.

        ~ app lost
            No user keeps an instance of their own: conversations are lost to their users.
        ");
    }

    #[test]
    fn a_share_is_written_in_percent() {
        assert_eq!(parse_share("10%"), Ok(0.1));
        assert_eq!(parse_share("0"), Ok(0.0));
        assert_eq!(parse_share("2.5 %"), Ok(0.025));
        assert!(["", "%", "-1%", "101%", "NaN"].iter().all(|text| parse_share(text).is_err()));
    }
}
