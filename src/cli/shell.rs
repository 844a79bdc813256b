//! `difygate completions` and `difygate man`: what a shell and `man` know of the program, made of its
//! command line.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command, ValueHint};
use clap_complete::Shell;

use crate::cli::exit_status::{CommandError, ExitStatus};
use crate::cli::printer::Printer;

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "bash: difygate completions bash > /usr/share/bash-completion/completions/difygate\n\
    zsh:  difygate completions zsh > \"${fpath[1]}/_difygate\"\n\
    fish: difygate completions fish > ~/.config/fish/completions/difygate.fish"
)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write a man page for the program and one for each command.
#[derive(Debug, Args)]
#[command(after_help = "The pages are in section 1: difygate.1, difygate-serve.1 and so on.\n\
    Exit codes: 0 written, 3 one cannot be written.")]
pub(super) struct ManArguments {
    /// The folder, made where it is not there
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

pub(super) fn completions(
    arguments: &CompletionsArguments,
    mut command: Command,
    printer: &mut Printer,
) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    printer.out(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Done)
}

pub(super) fn man(
    arguments: &ManArguments,
    command: Command,
    printer: &mut Printer,
) -> anyhow::Result<ExitStatus> {
    let folder = &arguments.folder;
    let pages = fs::create_dir_all(folder).and_then(|()| {
        // Commands within commands have pages of their own, too: `difygate conversations list`.
        clap_mangen::generate_to(command.disable_help_subcommand(true), folder)?;
        fs::read_dir(folder)
    });
    let pages = pages.map_err(|error| {
        let text = format!("cannot write to {}: {error}", folder.display());
        CommandError::of(ExitStatus::CouldNotRun, text)
    })?;
    let is_page = |name: &str| name.starts_with("difygate") && name.ends_with(".1");
    let names = pages.flatten().filter_map(|page| page.file_name().into_string().ok());
    let count = names.filter(|name| is_page(name)).count();
    printer.line(&format!("{count} pages in {}", folder.display()))?;
    Ok(ExitStatus::Done)
}
