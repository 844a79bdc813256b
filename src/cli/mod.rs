//! The command line: one file per command. How each ends, `exit_status` says.

mod admin_client;
mod ask_instances;
mod check;
mod config_source;
mod conversations;
mod demo;
mod environment;
mod exit_status;
mod explain;
mod health;
mod http_get;
mod import;
mod init;
mod logs;
mod other_words;
mod plan;
mod printer;
mod routes;
mod schema;
pub mod serve;
mod shell;
mod sim;
mod start_hints;
mod status;
mod table;

use std::ffi::OsString;
use std::io::ErrorKind;

use clap::{CommandFactory, Parser, Subcommand};
use exit_status::EXIT_CODES;
use printer::Printer;

pub use self::exit_status::ExitStatus;

#[derive(Debug, Parser)]
#[command(
    name = "difygate",
    version,
    about = "A gateway for self-hosted Dify: one program in front of several Dify instances",
    before_help = "Start with `difygate demo` to see it work, with `difygate init` to use it.",
    after_help = EXIT_CODES,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the apps of a configuration file
    Serve(serve::Arguments),
    /// Write a first configuration file
    Init(init::Arguments),
    /// Check a configuration file and say what is wrong with it
    Check(check::Arguments),
    /// Show what a new configuration would change, and which users would move
    Plan(plan::Arguments),
    /// Print the JSON Schema of the configuration file, for editors
    Schema(schema::Arguments),
    /// Convert the Lua configuration of an OpenResty balancer
    Import(import::Arguments),
    /// Show what a running gateway is doing
    Status(status::Arguments),
    /// Show which instance a user's requests go to, and why
    Explain(explain::Arguments),
    /// List, export, import or clean up stored conversations of AI clients
    Conversations(conversations::Arguments),
    /// Check whether a gateway is alive, for health checks
    Health(health::Arguments),
    /// Try it: three simulated Dify instances, two apps and a gateway in one process
    Demo(demo::Arguments),
    /// Run simulated Dify instances to test against
    Sim(sim::Arguments),
    /// Print completions for bash, zsh, fish and other shells
    Completions(shell::CompletionsArguments),
    /// Write man pages
    Man(shell::ManArguments),
}

/// Runs the program with its arguments.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut printer = Printer;
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when even this cannot be printed.
            let printed = error.print();
            let is_full = printed.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe);
            if let Some(meant) = other_words::meant(&arguments).filter(|_| error.use_stderr()) {
                printer.findings(&format!("\n  hint: {meant}"));
            }
            return match error.use_stderr() {
                true => ExitStatus::Misused,
                false if is_full => ExitStatus::CouldNotRun,
                false => ExitStatus::Done,
            };
        }
    };
    let done = match cli.command {
        Command::Serve(arguments) => serve::run(arguments, &mut printer),
        Command::Init(arguments) => init::run(&arguments, &mut printer),
        Command::Check(arguments) => check::run(&arguments, &mut printer),
        Command::Plan(arguments) => plan::run(&arguments, &mut printer),
        Command::Schema(arguments) => schema::run(&arguments, &mut printer),
        Command::Import(arguments) => import::run(&arguments, &mut printer),
        Command::Status(arguments) => status::run(&arguments, &mut printer),
        Command::Explain(arguments) => explain::run(&arguments, &mut printer),
        Command::Conversations(arguments) => conversations::run(&arguments, &mut printer),
        Command::Health(arguments) => health::run(&arguments, &mut printer),
        Command::Demo(arguments) => demo::run(arguments, &mut printer),
        Command::Sim(arguments) => sim::run(arguments, &mut printer),
        Command::Completions(arguments) => {
            shell::completions(&arguments, Cli::command(), &mut printer)
        }
        Command::Man(arguments) => shell::man(&arguments, Cli::command(), &mut printer),
    };
    done.unwrap_or_else(|error| {
        // `difygate status | head` closes the pipe on purpose.
        let closed = error.downcast_ref::<std::io::Error>();
        if closed.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            return ExitStatus::Done;
        }
        printer.error(&format!("{error:#}"));
        ExitStatus::of(&error)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
