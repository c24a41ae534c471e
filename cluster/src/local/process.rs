//! One child process that runs a role.
//!
//! It is started in a process group of its own, so that Ctrl-C in the terminal reaches only its
//! parent, which stops the children in order. Its standard input is a pipe that the parent never
//! writes to: when the parent is gone, killed or not, the pipe closes and the child leaves.

use std::{
    fs::File,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use shoal_common::{config::ENVIRONMENT_PREFIX, private_files};
use tokio::process::{Child, ChildStdin, Command};

use super::RoleProcess;

/// Lines of a log that are shown when a child fails.
const TAIL_LINES: usize = 15;
/// Bytes at a log's end in which they are looked for.
const TAIL_BYTES: u64 = 16 * 1024;

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Option<Pid>,
    /// Never written to: its closing tells the child to leave.
    _standard_input: Option<ChildStdin>,
}

impl Process {
    /// Starts `program` (this binary) in the role. Output is added to the role's log.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not started.
    pub fn spawn(program: &Path, role: &RoleProcess) -> io::Result<Self> {
        let log = private_files::append(&role.log)?;
        let mut command = Command::new(program);
        command
            .arg(role.role.to_string())
            .arg("--config")
            .arg(&role.config)
            .arg("--supervised")
            .arg("--log-file")
            .arg(&role.log)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        // What the parent was told is in the file; a variable for one role would be refused by another.
        for (name, _) in settings_in_environment() {
            command.env_remove(name);
        }
        let mut child = command.spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        // Waiting for a child closes its standard input: keep it out of reach.
        let standard_input = child.stdin.take();
        Ok(Self { child, pid, _standard_input: standard_input })
    }

    /// Its process id, until it has been waited for.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal; one to a child that has already ended is lost.
    pub fn signal(&self, signal: Signal) {
        // A child that was waited for has no id any more, so a stranger with its number is safe.
        if let (Some(pid), Some(_)) = (self.pid, self.child.id()) {
            // The only failure left is that it has just ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to leave, and kills it after `deadline`. Returns whether it left by itself.
    pub async fn stop(&mut self, deadline: Duration) -> bool {
        self.signal(Signal::TERM);
        if tokio::time::timeout(deadline, self.child.wait()).await.is_ok() {
            return true;
        }
        self.signal(Signal::KILL);
        // Nothing survives this signal; an error would only say that it is already gone.
        let _ = self.child.wait().await;
        false
    }
}

#[allow(clippy::disallowed_methods, reason = "only the names are read, to keep them from the child")]
fn settings_in_environment() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX))
}

/// The last lines of a log; what cannot be read is said instead.
#[must_use]
pub fn log_tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        use io::{Read as _, Seek as _};
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.trim().is_empty() => "  (it is empty)".to_owned(),
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(TAIL_LINES);
            lines[from..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("  (it cannot be read: {error})"),
    }
}
