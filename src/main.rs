//! The `difygate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    difygate::cli::run(std::env::args_os()).into()
}
