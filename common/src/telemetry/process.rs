//! What a process takes of its machine, in the names that Prometheus's own libraries use. It is read when metrics are asked for.

use std::{fmt::Write as _, path::Path};

use super::list::{Kind, METRICS};

/// The metrics of this process as Prometheus text; what the system does not say is left out (it is asked in Linux's way).
pub(super) fn render() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = |name: &str| number_after(&status, name).map(|kibibytes| kibibytes * 1_024.0);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let values = [
        ("process_cpu_seconds_total", cpu_seconds()),
        ("process_resident_memory_bytes", kibibytes("VmRSS:")),
        ("process_anonymous_memory_bytes", kibibytes("RssAnon:")),
        ("process_virtual_memory_bytes", kibibytes("VmSize:")),
        ("process_open_fds", open_descriptors()),
        ("process_max_fds", number_after(&limits, "Max open files")),
        ("process_threads", number_after(&status, "Threads:")),
        ("process_start_time_seconds", start_time()),
    ];
    let mut text = String::new();
    for (name, value) in values {
        let Some(value) = value else { continue };
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let (kind, help) = metric.map_or((Kind::Gauge, ""), |metric| (metric.kind, metric.help));
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}\n{name} {value}\n", kind.name());
    }
    text
}

/// The first number after a name at the begin of a line.
fn number_after(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9)
}

fn open_descriptors() -> Option<f64> {
    // The look itself has one.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64)
}

/// When the process started: the machine's start and the process's own distance from it, in ticks of 10 ms on every Linux.
fn start_time() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before, in parentheses, may have anything in it.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let machine = number_after(&std::fs::read_to_string("/proc/stat").ok()?, "btime")?;
    Some(machine + ticks / TICKS_PER_SECOND)
}

/// Free and all bytes of the file system where a folder is.
pub(crate) fn disk_bytes(folder: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(folder).ok()?;
    // What only the system's administrator may take is not free for a node.
    Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn a_process_says_what_it_takes() {
        let text = render();
        let listed = METRICS.iter().filter(|metric| metric.name.starts_with("process_"));
        for metric in listed {
            let value = text.lines().find_map(|line| line.strip_prefix(metric.name)?.strip_prefix(' '));
            let value: f64 =
                value.unwrap_or_else(|| panic!("{} is missing: {text}", metric.name)).parse().unwrap();
            assert!(value > 0.0, "{} is {value}", metric.name);
        }
        let now = SystemClock.now_unix_ms() as f64 / 1_000.0;
        let started = start_time().unwrap();
        assert!(started > now - 24.0 * 3_600.0 && started < now + 1.0, "{started} and {now}");
    }

    #[test]
    fn a_folder_has_a_disk() {
        let (free, size) = disk_bytes(Path::new("/")).unwrap();
        assert!(size > 0 && free <= size);
        assert_eq!(disk_bytes(Path::new("/nowhere")), None);
    }
}
