//! `difygate conversations`: what a running gateway knows of conversations with AI clients. The
//! gateway is asked, because nobody else can read its store while it runs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::admin_client::{AdminClient, AdminOption};
use crate::cli::config_source::ConfigOption;
use crate::cli::exit_status::{CommandError, ExitStatus};
use crate::cli::printer::Printer;
use crate::cli::serve::block_on;
use crate::cli::table::table;
use crate::conversation::{ImportSummary, ParsedImport, Slice, now_s, parse};
use crate::model::units::parse_duration;

/// Conversations that are sent to the gateway at once.
const PART: usize = 5000;

/// List, export, import or clean up what a gateway knows of conversations with AI clients.
#[derive(Debug, Args)]
#[command(
    after_help = "No texts are stored, only which Dify conversation belongs to which key, app, user and chat.\nExit codes: 0 done, 1 the gateway's store fails, 2 the command line, the \
    configuration or the file is wrong, 3 no gateway answers or a file cannot be read or written, 4 it stopped \
    half-way: what was taken in or written stays, 5 the gateway refuses the token or the address."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the conversations used last
    List {
        #[command(flatten)]
        gateway: Gateway,
        /// Only conversations of the client key with this name
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        /// How many to show
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print all conversations as lines of JSON, for `import`
    #[command(
        after_help = "An import into the same store, or into one of the same Redis, brings back \
        where each conversation ends. Another gateway resumes them by their chats and ids; those \
        without a chat begin anew, with what the client sends."
    )]
    Export {
        #[command(flatten)]
        gateway: Gateway,
        /// Only conversations of the client key with this name
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        /// Write to this file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take in an export, or OpenDify's `conversation_mappings.json`
    #[command(
        after_help = "A chat of OpenDify belongs to whoever continues it first, in the app that \
        `--app` names. What is known already stays as it is."
    )]
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        taken: PathBuf,
        #[command(flatten)]
        gateway: Gateway,
        /// The app that OpenDify served
        #[arg(long, value_name = "APP")]
        app: Option<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget conversations unused for a long time; Dify keeps them
    Cleanup {
        #[command(flatten)]
        gateway: Gateway,
        /// Only conversations of the client key with this name
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        /// Forget those whose last turn is longer ago, such as 30d
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        max_age: Duration,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which gateway is asked.
#[derive(Debug, Args)]
struct Gateway {
    /// Its configuration; the `admin` in it says where to ask.
    #[command(flatten)]
    chosen: ConfigOption,
    #[command(flatten)]
    reach: AdminOption,
}

impl Gateway {
    fn admin(&self, printer: &mut Printer) -> Option<AdminClient> {
        self.reach.admin(&self.chosen, printer).map(AdminClient::patient)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write it as `30d` or `12h`".to_owned())
}

/// Asks a gateway and prints what it says.
pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    match &arguments.command {
        Command::List { gateway, key, limit, json } => {
            let Some(admin) = gateway.admin(printer) else { return Ok(ExitStatus::Misused) };
            let path = path("/conversations", &[("key", key.as_deref())]);
            let joint = if key.is_some() { '&' } else { '?' };
            let listed = block_on(admin.get(&format!("{path}{joint}limit={limit}")))?;
            match json {
                true => printer.line(&serde_json::to_string_pretty(&listed)?)?,
                false => printer.out(&listed_text(&listed))?,
            }
        }
        Command::Export { gateway, key, output } => {
            let Some(admin) = gateway.admin(printer) else { return Ok(ExitStatus::Misused) };
            export(&admin, key.as_deref(), output.as_deref(), printer)?;
        }
        Command::Import { taken: file, gateway, app, json } => {
            let text = fs::read_to_string(file);
            let text = text.map_err(|error| unusable(file, "read", &error))?;
            let parsed = match parse(&text, app.as_deref(), now_s()) {
                Ok(parsed) => parsed,
                Err(error) => {
                    printer.error(&format!("{}: {error}", file.display()));
                    return Ok(ExitStatus::Misused);
                }
            };
            let Some(admin) = gateway.admin(printer) else { return Ok(ExitStatus::Misused) };
            let ImportSummary { added, present, skipped } = import(&admin, parsed)?;
            let text = match json {
                true => {
                    json!({ "added": added, "present": present, "skipped": skipped }).to_string()
                }
                false => {
                    let were = if present == 1 { "was" } else { "were" };
                    format!(
                        "{} taken in, {present} {were} known, {skipped} cannot be used",
                        counted(added)
                    )
                }
            };
            printer.line(&text)?;
        }
        Command::Cleanup { gateway, key, max_age, json } => {
            let Some(admin) = gateway.admin(printer) else { return Ok(ExitStatus::Misused) };
            let question = json!({ "key": key, "max_age_s": max_age.as_secs() });
            let done: Value = block_on(admin.ask("/conversations/cleanup", &question))?;
            let text = match json {
                true => done.to_string(),
                false => {
                    let removed = done["removed"].as_u64().and_then(|count| count.try_into().ok());
                    format!("{} forgotten", counted(removed.unwrap_or_default()))
                }
            };
            printer.line(&text)?;
        }
    }
    Ok(ExitStatus::Done)
}

fn path(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn export(
    admin: &AdminClient,
    key: Option<&str>,
    output: Option<&Path>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let mut file = match output {
        Some(path) => {
            let file = File::create(path);
            let file = file.map_err(|error| unusable(path, "written", &error))?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let mut from: Option<String> = None;
    let (mut first, mut count) = (true, 0);
    loop {
        let path = path("/conversations/export", &[("key", key), ("from", from.as_deref())]);
        let slice = block_on(admin.get(&path)).and_then(|slice| {
            Slice::deserialize(slice).context("unexpected response from the gateway")
        });
        let slice = slice.map_err(|error| half_way(error, count))?;
        let mut text = String::new();
        if first {
            writeln!(text, "{}", serde_json::to_string(&slice.header)?)?;
        }
        first = false;
        count += slice.rows.len();
        for row in &slice.rows {
            writeln!(text, "{}", serde_json::to_string(row)?)?;
        }
        match &mut file {
            Some(file) => file.write_all(text.as_bytes())?,
            None => printer.out(&text)?,
        }
        from = slice.next;
        if from.is_none() {
            break;
        }
    }
    if let (Some(mut file), Some(path)) = (file, output) {
        file.flush()?;
        printer.line(&format!("{} written to {}", counted(count), path.display()))?;
    }
    Ok(())
}

fn import(admin: &AdminClient, parsed: ParsedImport) -> anyhow::Result<ImportSummary> {
    let mut all = ImportSummary { skipped: parsed.skipped, ..ImportSummary::default() };
    for rows in parsed.rows.chunks(PART) {
        let part = json!({ "header": parsed.header, "rows": rows });
        let done = block_on(admin.ask("/conversations/import", &part));
        let done: ImportSummary = done.map_err(|error| half_way(error, all.added + all.present))?;
        all.added += done.added;
        all.present += done.present;
        all.skipped += done.skipped;
    }
    Ok(all)
}

fn counted(count: usize) -> String {
    format!("{count} conversation{}", if count == 1 { "" } else { "s" })
}

/// An error after so many conversations were dealt with.
fn half_way(error: anyhow::Error, done: usize) -> anyhow::Error {
    match done {
        0 => error,
        _ => {
            let error = error.context(format!("stopped after {}", counted(done)));
            ExitStatus::Stopped.error(&error)
        }
    }
}

fn unusable(path: &Path, how: &str, error: &std::io::Error) -> anyhow::Error {
    let text = format!("{} cannot be {how}: {error}", path.display());
    CommandError::of(ExitStatus::CouldNotRun, text)
}

fn listed_text(listed: &Value) -> String {
    let shown = listed["conversations"].as_array().into_iter().flatten();
    let rows: Vec<_> = shown
        .map(|row| {
            let used = row["used"].as_i64().and_then(|used| Timestamp::from_second(used).ok());
            [
                plain(&row["conversation"]).into(),
                plain(&row["app"]).into(),
                plain(&row["key"]).into(),
                plain(&row["user"]).into(),
                plain(&row["chat"]).into(),
                row["turns"].to_string().into(),
                plain(&row["state"]).into(),
                used.map_or("-".to_owned(), |used| used.to_string()).into(),
            ]
        })
        .collect();
    let count = rows.len();
    let heading = ["CONVERSATION", "APP", "KEY", "USER", "CHAT", "TURNS", "STATE", "USED"];
    let all = listed["count"].as_u64().and_then(|count| count.try_into().ok());
    format!("{}\n{count} of {}\n", table(heading, rows), counted(all.unwrap_or_default()))
}

/// A text that came from a client must not steer the terminal.
fn plain(value: &Value) -> String {
    let safe = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    value.as_str().map_or("-".to_owned(), |text| text.chars().map(safe).collect())
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::json;

    use super::{listed_text, path};

    #[test]
    fn the_table_shows_whose_each_conversation_is() {
        let row = |chat: Option<&str>| {
            json!({ "conversation": "c1", "app": "shop", "key": "web", "user": "web:al\u{1b}[31mice",
                "chat": chat, "turns": 3, "state": "clean", "created": 0, "used": 1_700_000_000 })
        };
        let listed = json!({ "count": 9, "conversations": [row(None), row(Some("chat-1"))] });
        insta::assert_snapshot!(strip_str(&listed_text(&listed)).to_string(), @r"
        CONVERSATION  APP   KEY  USER            CHAT    TURNS  STATE  USED
        c1            shop  web  web:al�[31mice  -       3      clean  2023-11-14T22:13:20Z
        c1            shop  web  web:al�[31mice  chat-1  3      clean  2023-11-14T22:13:20Z

        2 of 9 conversations
        ");
    }

    #[test]
    fn names_in_a_path_are_encoded() {
        assert_eq!(path("/x", &[("key", None)]), "/x");
        assert_eq!(path("/x", &[("key", Some("a&b c")), ("from", None)]), "/x?key=a%26b+c");
    }
}
