//! How much memory this process may still take: what the machine has left, or less where a control group says so.

use std::path::{Path, PathBuf};

/// Where control groups are, of either version.
const GROUPS: &str = "/sys/fs/cgroup";

/// A limit of version 1 from which on it is none: the files say the largest number of whole pages.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// Bytes that can be taken without swapping or being killed; `None` where the system does not say (it is asked in
/// Linux's way).
#[must_use]
pub fn available_bytes() -> Option<u64> {
    let machine = machine_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups_bytes(Path::new(GROUPS), &own);
    Some(group.map_or(machine, |group| group.min(machine)))
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

/// What the groups leave that a process is in, by its `/proc/self/cgroup`: the least that one of them does.
fn groups_bytes(root: &Path, own: &str) -> Option<u64> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        // A line without controllers is of version 2, and version 1 has a folder for each controller.
        if controllers.is_empty() {
            Some(folders(root, path).iter().filter_map(|folder| unified_bytes(folder)).collect())
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let root = root.join("memory");
            Some(folders(&root, path).iter().filter_map(|folder| legacy_bytes(folder)).collect())
        } else {
            None
        }
    };
    own.lines().filter_map(of_line).flat_map(|left: Vec<u64>| left).min()
}

/// The group's folder and those above it, of which each limits those below. In a container the folder may be missing: what the
/// container sees as the root is its group.
fn folders(root: &Path, path: &str) -> Vec<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let ancestors = path.ancestors().filter(|_| is_plain).map(|below| root.join(below));
    if is_plain { ancestors.collect() } else { vec![root.to_owned()] }
}

/// What a group of version 2 leaves.
fn unified_bytes(folder: &Path) -> Option<u64> {
    // Without a limit the file says "max".
    let limit = number(&folder.join("memory.max"))?;
    let used = number(&folder.join("memory.current"))?;
    Some(limit.saturating_sub(used.saturating_sub(of_files(folder, "file"))))
}

/// What a group of version 1 leaves.
fn legacy_bytes(folder: &Path) -> Option<u64> {
    let limit = number(&folder.join("memory.limit_in_bytes")).filter(|limit| *limit < NO_LIMIT_BYTES)?;
    let used = number(&folder.join("memory.usage_in_bytes"))?;
    // The usage counts the groups below, and so does this line.
    Some(limit.saturating_sub(used.saturating_sub(of_files(folder, "total_cache"))))
}

/// Pages of files, which are given up when memory is asked for.
fn of_files(folder: &Path, name: &str) -> u64 {
    let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    stat.lines().find_map(value).unwrap_or_default()
}

fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn what_the_machine_has_is_read() {
        let meminfo = "MemTotal:       24621952 kB\nMemFree:  1 kB\nMemAvailable:   20123456 kB\n";
        assert_eq!(machine_bytes(meminfo), Some(20_123_456 * 1_024));
        assert_eq!(machine_bytes("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn a_group_leaves_what_is_not_used_but_for_files() {
        let folder = tempfile::tempdir().unwrap();
        let left = || groups_bytes(folder.path(), "0::/\n");
        assert_eq!(left(), None);
        write(folder.path(), &[("memory.max", "1000\n"), ("memory.current", "700\n")]);
        assert_eq!(left(), Some(300));
        write(folder.path(), &[("memory.stat", "anon 400\nfile_mapped 7\nfile 200\n")]);
        assert_eq!(left(), Some(500));
        write(folder.path(), &[("memory.max", "max\n")]);
        assert_eq!(left(), None);
    }

    #[test]
    fn the_tightest_of_the_groups_above_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (service, slice) = ("system.slice/shoal@worker.service", "system.slice");
        let own = format!("0::/{service}\n");
        write(
            folder.path(),
            &[
                (&format!("{service}/memory.max"), "900"),
                (&format!("{service}/memory.current"), "100"),
                (&format!("{slice}/memory.max"), "1000"),
                (&format!("{slice}/memory.current"), "950"),
            ],
        );
        assert_eq!(groups_bytes(folder.path(), &own), Some(50));
        write(folder.path(), &[(&format!("{slice}/memory.max"), "max")]);
        assert_eq!(groups_bytes(folder.path(), &own), Some(800));
    }

    #[test]
    fn groups_of_version_1_are_read_also_where_their_folder_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let own = "12:cpu,cpuacct:/docker/x\n5:memory:/docker/x\n0::/docker/x\n";
        write(
            folder.path(),
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.usage_in_bytes", "5000\n"),
            ],
        );
        assert_eq!(groups_bytes(folder.path(), own), None, "there is no limit");
        // As a container sees it: its own group is the root.
        write(
            folder.path(),
            &[
                ("memory/memory.limit_in_bytes", "8000\n"),
                ("memory/memory.stat", "cache 1\ntotal_cache 500\n"),
            ],
        );
        assert_eq!(groups_bytes(folder.path(), own), Some(3_500));
        // As the machine sees it.
        write(
            folder.path(),
            &[
                ("memory/docker/x/memory.limit_in_bytes", "1000\n"),
                ("memory/docker/x/memory.usage_in_bytes", "900\n"),
            ],
        );
        assert_eq!(groups_bytes(folder.path(), own), Some(100));
        assert_eq!(groups_bytes(folder.path(), "5:memory:/../../x\n"), Some(3_500));
    }
}
