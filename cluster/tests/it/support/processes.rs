//! Finding and signalling the processes of a cluster, by what the system says of them.

use std::path::Path;

pub(crate) use rustix::process::Pid;
use rustix::process::{Signal, kill_process};

/// The processes that were started with this folder on their command line, zombies left out: ids and names.
/// A child's name is that of its settings file.
pub(crate) fn processes_of(dir: &Path) -> Vec<(Pid, String)> {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let dir = dir.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        // A process that has ended meanwhile has no command line any more, and neither has a zombie.
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments: Vec<String> = command
            .split(|&byte| byte == 0)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect();
        if arguments.iter().any(|argument| argument.starts_with(dir)) {
            let config = arguments.iter().find(|argument| argument.ends_with(".toml"));
            let name = config.and_then(|path| Path::new(path).file_stem()?.to_str().map(str::to_owned));
            found.push((pid, name.unwrap_or_else(|| arguments.get(1).cloned().unwrap_or_default())));
        }
    }
    found
}

/// Sends a signal; to a process that has ended it is lost.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    // The only other failure is a missing right, and the processes are ours.
    let _ = kill_process(pid, signal);
}
