//! Signals and what the operating system allows.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Connections that the admin listener has open at most. They are beside those of clients, so that neither
/// takes the descriptors of the other.
pub const ADMIN_CONNECTIONS: usize = 32;

/// Descriptors that are not clients': listeners, logs, runtimes, spools, and the admin listener's.
const RESERVED: u64 = 96 + ADMIN_CONNECTIONS as u64;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: finish what runs, then end. The second one ends at once.
    Drain,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the access log again.
    ReopenLogs,
}

/// The signals of this process, one after the other.
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    user1: Stream,
}

/// Starts to listen for signals, which from then on do not end the process by themselves.
///
/// # Errors
/// The runtime cannot watch signals.
pub fn signals() -> io::Result<Signals> {
    // A file that may not grow any more is an error of a write, as a full disk is, and no reason to
    // end. The handler stays when its stream is dropped.
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
    Ok(Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
        user1: signal(SignalKind::user_defined1())?,
    })
}

impl Signals {
    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Drain,
            _ = self.interrupt.recv() => Signal::Drain,
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.user1.recv() => Signal::ReopenLogs,
        }
    }
}

/// How many clients the process can serve at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The limit on open descriptors, after it was raised as far as allowed.
    pub descriptors: u64,
    /// Client connections: each may need a second descriptor for its instance.
    pub max_connections: usize,
}

/// Raises the descriptor limit and says what it allows.
///
/// # Errors
/// `wanted` connections do not fit; the text says what to do.
pub fn capacity(wanted: Option<usize>) -> Result<Capacity, String> {
    let descriptors = raise_descriptors();
    let fits =
        usize::try_from(descriptors.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX).max(1);
    match wanted {
        Some(wanted) if wanted > fits => Err(format!(
            "`limits.max_connections: {wanted}` needs {} open files, but this process may open \
             {descriptors}: raise the limit (`ulimit -n`, `LimitNOFILE=` in systemd, `ulimits` in \
             Docker) or lower `max_connections` to {fits}",
            2 * wanted as u64 + RESERVED
        )),
        wanted => Ok(Capacity { descriptors, max_connections: wanted.unwrap_or(fits) }),
    }
}

fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        // No maximum at all: more than any machine has.
        Ok(()) => limit.maximum.unwrap_or(1 << 30),
        Err(_) => limit.current.unwrap_or(1 << 30),
    }
}

#[cfg(test)]
mod tests {
    use super::capacity;

    #[test]
    fn more_connections_than_descriptors_are_refused_with_the_remedy() {
        let fits = capacity(None).unwrap();
        assert!(fits.max_connections >= 1);
        let error = capacity(Some(usize::MAX / 4)).unwrap_err();
        assert!(error.contains("LimitNOFILE") && error.contains("max_connections"), "{error}");
        assert_eq!(capacity(Some(1)).unwrap().max_connections, 1);
    }
}
