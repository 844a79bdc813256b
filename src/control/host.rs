//! How much memory there is for this process.

use std::fs;
use std::path::Path;

/// The machine's memory in bytes, or the limit of the process's control group where that is less;
/// none where neither can be read.
pub(super) fn memory_bytes() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| total(&text));
    let group = read("/proc/self/cgroup").unwrap_or_default();
    group_files(&group)
        .into_iter()
        .filter_map(|path| read(&path))
        // `max` is no number.
        .filter_map(|text| text.trim().parse().ok())
        .chain(machine)
        .min()
}

/// `MemTotal` of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The files that may hold a limit, by `/proc/self/cgroup`: of the group and of all above it, in both
/// versions of control groups. In a container, the group's own path is often not to be seen; then the
/// root is what the container has.
fn group_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let above = Path::new(path).ancestors().filter_map(Path::to_str);
        files.extend(above.map(|path| format!("{root}{}/{file}", path.trim_end_matches('/'))));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::{group_files, memory_bytes, total};

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(memory_bytes().is_some_and(|bytes| bytes > 64 << 20));
    }

    #[test]
    fn limits_of_all_groups_above_count_in_both_versions() {
        assert_eq!(
            group_files("0::/a.slice/b.scope\n"),
            [
                "/sys/fs/cgroup/a.slice/b.scope/memory.max",
                "/sys/fs/cgroup/a.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        let old = "3:cpu,memory:/x\n2:pids:/x\n0::/\n";
        assert_eq!(
            group_files(old),
            [
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max"
            ]
        );
    }
}
