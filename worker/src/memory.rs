//! How much memory this process may still take: what the machine has left, or less where a control group says so.

use std::path::Path;

/// Bytes that can be taken without swapping or being killed; `None` where the system does not say (it is asked in
/// Linux's way).
#[must_use]
pub fn available_bytes() -> Option<u64> {
    let machine = machine_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let group = group_bytes(Path::new("/sys/fs/cgroup"));
    Some(group.map_or(machine, |group| group.min(machine)))
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

/// What a control group (version 2, as seen from inside a container) leaves.
fn group_bytes(folder: &Path) -> Option<u64> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // Without a limit the file says "max".
    let limit = number("memory.max")?;
    // Pages of files are given up when memory is asked for.
    let files = std::fs::read_to_string(folder.join("memory.stat")).ok().and_then(|stat| {
        stat.lines().find_map(|line| line.strip_prefix("file ")?.trim().parse::<u64>().ok())
    });
    let used = number("memory.current")?.saturating_sub(files.unwrap_or_default());
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_has_is_read() {
        let meminfo = "MemTotal:       24621952 kB\nMemFree:  1 kB\nMemAvailable:   20123456 kB\n";
        assert_eq!(machine_bytes(meminfo), Some(20_123_456 * 1_024));
        assert_eq!(machine_bytes("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn a_group_leaves_what_is_not_used_but_for_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(group_bytes(folder.path()), None);
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        assert_eq!(group_bytes(folder.path()), Some(300));
        write("memory.stat", "anon 400\nfile 200\n");
        assert_eq!(group_bytes(folder.path()), Some(500));
        write("memory.max", "max\n");
        assert_eq!(group_bytes(folder.path()), None);
    }
}
