//! Who runs on which core, and how many sockets there may be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// The proxy's, alone.
    pub proxy: usize,
    /// For the instance and the generator.
    pub ours: usize,
}

impl Cores {
    /// The first and the last that this process may use. With one core both are the same.
    #[must_use]
    pub fn find() -> Self {
        let may = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        let mut usable = (0..CpuSet::MAX_CPU).filter(|core| may.is_set(*core));
        let proxy = usable.next().unwrap_or_default();
        Self { proxy, ours: usable.next_back().unwrap_or(proxy) }
    }
}

/// Binds the calling thread, and what it starts from now on, to a core. Where the machine does not
/// let us, figures are worse and still fair.
pub fn bind(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let _ = sched_setaffinity(None, &set);
}

/// Raises the limit of descriptors as far as it goes, for us and for what we start, and gives it.
#[must_use]
pub fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let current = getrlimit(Resource::Nofile).current;
    current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}
