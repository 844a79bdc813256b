//! Threads for what takes long, which give way to those that serve requests and probe.
//!
//! Not threads of the runtime's pool: those have the priority of a worker, and where there are no more
//! cores than workers, the worker would wait its turn behind them. A thread cannot lower its nice value
//! again without a privilege, so each is used once.
//!
//! Not `SCHED_IDLE`: beside any program that keeps the cores busy, such a thread never runs.

use std::cell::Cell;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::process::{getpriority_process, setpriority_process};

/// How far such a thread gives way, of 19: beside a worker that never rests, it has a quarter of a core.
const NICE: i32 = 5;

/// Begins something on a thread of its own. `name` is what `top -H` shows, at most 15 bytes.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if getpriority_process(None).is_ok_and(|nice| nice < NICE) {
            // Of this thread alone. Where it is refused, the work is done all the same.
            let _ = setpriority_process(None, NICE);
        }
        work();
    });
    thread.map(drop)
}

/// How long such work goes on at a time. A thread that gives way too often falls behind for good: since
/// Linux 6.18 it loses the rest of its slice each time.
const TURN: Duration = Duration::from_millis(1);

thread_local! {
    static TURN_BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets those that serve requests run, where they wait for this thread's core: the kernel may let them wait
/// until its next tick, up to 4 ms. To be called every few hundred microseconds of long work, or more often.
pub(crate) fn give_way() {
    let now = Instant::now();
    TURN_BEGAN.with(|began| match began.get() {
        Some(at) if now.duration_since(at) < TURN => {}
        _ => {
            thread::yield_now();
            began.set(Some(now));
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use rustix::process::getpriority_process;

    use super::{NICE, spawn};

    #[test]
    fn such_a_thread_gives_way_and_its_parent_does_not() {
        let nice = || getpriority_process(None).unwrap();
        let own = nice();
        let (sender, receiver) = channel();
        let name = || thread::current().name().map(str::to_owned);
        spawn("test", move || sender.send((nice(), name())).unwrap()).unwrap();
        assert_eq!(receiver.recv().unwrap(), (NICE.max(own), Some("test".to_owned())));
        assert_eq!(nice(), own);
    }
}
