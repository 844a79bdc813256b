//! `difygate schema`.

use clap::Args;

use crate::cli::exit_status::ExitStatus;
use crate::cli::printer::Printer;
use crate::config;

/// Print the JSON Schema of the configuration file, for editors.
#[derive(Debug, Args)]
#[command(after_help = "For completion in an editor with a YAML language server:\n  \
    difygate schema > difygate.schema.json\n\
    and as the first line of difygate.yaml:\n  \
    # yaml-language-server: $schema=difygate.schema.json")]
pub(super) struct Arguments {
    /// Print a Markdown page for people instead
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    if arguments.markdown {
        printer.out(&config::markdown())?;
    } else {
        printer.line(&serde_json::to_string_pretty(&config::schema())?)?;
    }
    Ok(ExitStatus::Done)
}
