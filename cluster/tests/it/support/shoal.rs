//! Running the binary.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{eventually, signal};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    #[expect(dead_code, reason = "shown with the rest when a test fails")]
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Panics unless the exit code is this one.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Standard output as the one JSON document that it must be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Panics unless standard error is one line of at most so many characters that has every part.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        let sentence = self.stderr.trim_end();
        assert!(sentence.starts_with("shoal: ") && sentence.lines().count() == 1, "{self:#?}");
        for part in parts {
            assert!(sentence.contains(part), "'{part}' is missing: {self:#?}");
        }
    }
}

/// The binary with nothing of this process's settings.
fn command<A: AsRef<str>>(arguments: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.args(arguments.iter().map(AsRef::as_ref)).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SHOAL") {
            command.env_remove(name);
        }
    }
    command
}

fn finish(mut command: Command) -> Finished {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    Finished {
        command: format!("shoal {}", words.join(" ")),
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs a command to its end.
pub(crate) fn shoal<A: AsRef<str>>(arguments: &[A]) -> Finished {
    finish(command(arguments))
}

/// Runs a command to its end with a variable.
pub(crate) fn shoal_with<A: AsRef<str>>(variable: (&str, &str), arguments: &[A]) -> Finished {
    let mut command = command(arguments);
    command.env(variable.0, variable.1);
    finish(command)
}

/// Runs a command to its end with several variables.
pub(crate) fn shoal_with_all<A: AsRef<str>>(variables: &[(&str, String)], arguments: &[A]) -> Finished {
    let mut command = command(arguments);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    finish(command)
}

/// Runs a command to its end in a working folder.
pub(crate) fn shoal_in<A: AsRef<str>>(folder: &Path, arguments: &[A]) -> Finished {
    let mut command = command(arguments);
    command.current_dir(folder);
    finish(command)
}

/// Files of the output of a command that goes on running.
const OUTPUT: &str = "stdout.txt";
const ERRORS: &str = "stderr.txt";

/// A command that goes on running. Dropping it kills it, and waits for it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Running {
    /// Starts a command whose output goes to files in `folder`. It is told to leave when this process is gone.
    pub(crate) fn start<A: AsRef<str>>(folder: &Path, arguments: &[A]) -> Self {
        Self::start_command(folder, command(arguments))
    }

    /// As [`Running::start`], with some variables.
    pub(crate) fn start_with<A: AsRef<str>>(
        folder: &Path,
        variables: &[(&str, String)],
        arguments: &[A],
    ) -> Self {
        let mut command = command(arguments);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Self::start_command(folder, command)
    }

    /// As [`Running::start`], for a process that the shell has told of its limits before, such as `ulimit -n 256`.
    pub(crate) fn start_after<A: AsRef<str>>(folder: &Path, limits: &str, arguments: &[A]) -> Self {
        let shoal = command(arguments);
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\""));
        limited.arg(shoal.get_program()).args(shoal.get_args());
        for (name, value) in shoal.get_envs() {
            assert!(value.is_none());
            limited.env_remove(name);
        }
        Self::start_command(folder, limited)
    }

    /// As [`Running::start`], with pipes that nobody reads any more for its output, as `shoal … 2>&1 | head` leaves them.
    pub(crate) fn start_unread<A: AsRef<str>>(folder: &Path, arguments: &[A]) -> Self {
        let (_, unread) = std::io::pipe().unwrap();
        Self::start_into(folder, command(arguments), unread.try_clone().unwrap(), unread)
    }

    fn start_command(folder: &Path, command: Command) -> Self {
        let create = |name: &str| File::create(folder.join(name)).unwrap();
        Self::start_into(folder, command, create(OUTPUT), create(ERRORS))
    }

    fn start_into(
        folder: &Path,
        mut command: Command,
        output: impl Into<Stdio>,
        errors: impl Into<Stdio>,
    ) -> Self {
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        Self { child: command.spawn().unwrap(), output: folder.join(OUTPUT), errors: folder.join(ERRORS) }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// Waits until something can be made of the output so far. Panics when the command ends before.
    pub(crate) async fn prints<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, || {
            let found = read(&self.stdout());
            if found.is_none()
                && let Some(status) = self.child.try_wait().unwrap()
            {
                panic!("{status} before {what}: {}{}", self.stdout(), self.stderr());
            }
            found
        })
        .await
    }

    pub(crate) fn send(&self, what: Signal) {
        signal(self.pid(), what);
    }

    /// Waits for its end.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        eventually("the command ends", || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
