//! The error log: what an operator reads when something is wrong, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Colour for a terminal, unless `NO_COLOR` says otherwise.
fn is_coloured() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_unwanted
}

/// Starts the error log. `RUST_LOG` chooses what it holds, else `filter`, such as `info`. A second
/// call, as in a test, changes nothing.
pub fn start(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_coloured())
        .with_target(false)
        // A closed standard error must not end the gateway.
        .log_internal_errors(false)
        .finish();
    // An earlier subscriber stays: there is one log per process.
    let _ = subscriber.try_init();
}
