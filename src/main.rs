//! The `difygate` program.

use std::process::ExitCode;

/// A request takes and gives back memory some thirty times, in sizes that the system's allocator
/// joins and splits again. What is free goes back to the system by a thread of its own (`background_threads`):
/// large bodies are read off the workers' threads, and what those used would stay until one of them
/// happened to be used again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    difygate::cli::run(std::env::args_os()).into()
}
