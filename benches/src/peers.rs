//! The peers: Python programs in an environment that `benches/peers/setup.sh` makes.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Runs the Python programs that Shoal is compared with.
#[derive(Debug, Clone)]
pub struct Peers {
    python: PathBuf,
}

impl Peers {
    /// With the environment in `folder`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let python = folder.join("bin/python");
        if !python.exists() {
            bail!(
                "there is no Python environment in '{0}'; make it with `benches/peers/setup.sh {0}`",
                folder.display()
            );
        }
        Ok(Self { python })
    }

    /// Runs a script of `benches/peers` and returns the JSON that it prints.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn run(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self
            .command(script, arguments)
            .output()
            .with_context(|| format!("cannot run '{}'", self.python.display()))?;
        if !output.status.success() {
            bail!("{script} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{script} printed no JSON"))
    }

    /// Starts a script that serves, and waits until it prints a line with its address.
    ///
    /// # Errors
    /// When it ends before.
    pub fn serve(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Server> {
        let mut child = self
            .command(script, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run '{}'", self.python.display()))?;
        let output = child.stdout.take().map(BufReader::new);
        let mut server = Server { child, url: String::new() };
        for line in output.into_iter().flat_map(BufReader::lines) {
            if let Some(url) = line?.strip_prefix("serving on ") {
                url.trim().clone_into(&mut server.url);
                return Ok(server);
            }
        }
        bail!("{script} ended before it served; run it by hand to see why")
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
        let mut command = Command::new(&self.python);
        command
            .arg(&path)
            .args(arguments)
            .env("OPENBLAS_NUM_THREADS", "1")
            // Kernels chosen for other machines would slow a peer down.
            .env_remove("OPENBLAS_CORETYPE")
            .env_remove("OPENBLAS_L2_SIZE")
            .stdin(Stdio::null());
        command
    }
}

/// A peer that serves; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// The address where the program listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
