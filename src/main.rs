//! The `difygate` program.

use std::process::ExitCode;

/// A request takes and gives back memory some thirty times, in sizes that the system's allocator
/// joins and splits again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    difygate::cli::run(std::env::args_os()).into()
}
