//! The peers: Python programs in an environment that `benches/peers/setup.sh` makes.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Runs peers.
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
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
        let output = Command::new(&self.python)
            .arg(&path)
            .args(arguments)
            .env("OPENBLAS_NUM_THREADS", "1")
            // Kernels chosen for other machines would slow a peer down.
            .env_remove("OPENBLAS_CORETYPE")
            .env_remove("OPENBLAS_L2_SIZE")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run '{}'", self.python.display()))?;
        if !output.status.success() {
            bail!("{script} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{script} printed no JSON"))
    }
}
