//! What a program costs, as the kernel counts it: CPU time and memory of a process and all that it
//! started.

use std::fs;
use std::time::Duration;

/// A program: the process that was started and those that it started.
#[derive(Debug, Clone)]
pub struct Program {
    ids: Vec<u32>,
}

impl Program {
    /// The process with this id and its descendants, as they are now.
    #[must_use]
    pub fn of(id: u32) -> Self {
        let parents: Vec<_> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|id: u32| Some((id, parent(id)?)))
            .collect();
        let mut ids = vec![id];
        let mut next = 0;
        while let Some(&one) = ids.get(next) {
            let children = parents.iter().filter(|(_, parent)| *parent == one);
            ids.extend(children.map(|(child, _)| *child));
            next += 1;
        }
        Self { ids }
    }

    /// User and system time of all its threads since they began: the first figure of `schedstat`,
    /// in nanoseconds. `stat` would count ticks.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let threads = self.ids.iter().flat_map(|id| {
            fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten()
        });
        let ns = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(ns.sum())
    }

    /// Resident memory in KiB, pages that several share divided among them.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        self.ids.iter().filter_map(|id| pss_kib(*id)).sum()
    }

    /// Whether its first process is still there.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.ids.first().is_some_and(|id| parent(*id).is_some())
    }
}

fn parent(id: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it: state, parent.
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn pss_kib(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Program;

    #[test]
    fn work_of_this_process_and_of_its_children_is_counted() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let program = Program::of(std::process::id());
        assert!(program.ids.contains(&child.id()), "{program:?}");
        let before = program.cpu();
        let mut sum = 0_u64;
        while program.cpu() == before {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(program.resident_kib() > 100 && program.lives());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
