//! A local cluster of `shoal` processes, driven by the commands that users type.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use shoal_cluster::local::{Addresses, ClusterFile};
use shoal_core::ModelKind;

use crate::process::Process;

/// How long a cluster may take to be up.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// More than how long a silent node counts as up.
const LEASE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// A running cluster; stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    shoal: PathBuf,
    dir: PathBuf,
    up: Child,
}

impl Cluster {
    /// Starts one coordinator, `workers` workers with `threads` threads each, and a router in `dir`.
    ///
    /// # Errors
    /// When the binary cannot be run or the cluster does not come up.
    pub fn start(shoal: &Path, dir: &Path, workers: usize, threads: usize) -> anyhow::Result<Self> {
        Self::start_with(shoal, dir, workers, &[&format!("worker.training_threads={threads}")])
    }

    /// The same with these settings, `section.key=value`.
    ///
    /// # Errors
    /// When the binary cannot be run or the cluster does not come up.
    pub fn start_with(shoal: &Path, dir: &Path, workers: usize, settings: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make '{}'", dir.display()))?;
        let log = std::fs::File::create(dir.join("up.log"))?;
        let up = Command::new(shoal)
            .args(["up", "--coordinators", "1", "--http", "127.0.0.1:0"])
            .args(["--workers", &workers.to_string()])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| {
                format!("cannot run '{}'; build it with `cargo build --release`", shoal.display())
            })?;
        let mut cluster = Self { shoal: shoal.to_owned(), dir: dir.to_owned(), up };
        cluster.wait_until_up(workers)?;
        Ok(cluster)
    }

    fn wait_until_up(&mut self, workers: usize) -> anyhow::Result<()> {
        let give_up_at = Instant::now() + START_PATIENCE;
        loop {
            if let Ok(status) = self.json(&["status"])
                && let Some(nodes) = status["nodes"].as_array()
                && nodes.iter().filter(|node| node["role"] == "worker" && node["health"] == "up").count()
                    == workers
            {
                return Ok(());
            }
            if let Some(status) = self.up.try_wait()? {
                bail!("the cluster ended with {status}; see '{}'", self.dir.join("up.log").display());
            }
            if Instant::now() >= give_up_at {
                bail!("the cluster is not up after {START_PATIENCE:?}; see '{}'", self.dir.display());
            }
            pause();
        }
    }

    /// Runs a command with `--json` against this cluster and returns what it prints.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = Command::new(&self.shoal)
            .args(arguments)
            .arg("--json")
            .arg("--dir")
            .arg(&self.dir)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run '{}'", self.shoal.display()))?;
        if !output.status.success() {
            bail!(
                "`shoal {}` failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`shoal {}` printed no JSON", arguments.join(" ")))
    }

    /// Imports a source and returns the job's seconds beside the data set.
    ///
    /// # Errors
    /// When the import fails.
    pub fn import(&self, source: &Path, name: &str) -> anyhow::Result<(f64, Value)> {
        self.import_with(source, name, &[])
    }

    /// The same with the titles, tags and genome that lie beside the ratings.
    ///
    /// # Errors
    /// When the import fails.
    pub fn import_with_neighbours(&self, source: &Path, name: &str) -> anyhow::Result<(f64, Value)> {
        self.import_with(source, name, &["--with-neighbours"])
    }

    fn import_with(&self, source: &Path, name: &str, flags: &[&str]) -> anyhow::Result<(f64, Value)> {
        let started = Instant::now();
        let source = source.display().to_string();
        let job = self.json(&[&["dataset", "import", &source, "--name", name][..], flags].concat())?;
        Ok((started.elapsed().as_secs_f64(), job))
    }

    /// Trains ALS on a data set with further flags and returns the finished job.
    ///
    /// # Errors
    /// When the training fails.
    pub fn train(&self, data_set: &str, flags: &[&str]) -> anyhow::Result<Value> {
        let mut arguments =
            vec!["train", "--models", ModelKind::Als.name(), "--force", "--dataset", data_set];
        arguments.extend_from_slice(flags);
        self.json(&arguments)
    }

    /// Where the router answers, and where each node's metrics are: the router's first, then the workers'.
    ///
    /// # Errors
    /// When a node does not run or has no metrics.
    pub fn addresses(&self) -> anyhow::Result<(SocketAddr, Vec<SocketAddr>)> {
        let file = ClusterFile::read(&self.dir)?.context("the cluster's file is gone")?;
        let addresses = |name: &str| {
            Addresses::read(&self.dir.join(name))?.with_context(|| format!("'{name}' is not running"))
        };
        let router = addresses("router-1")?.http.context("the router has no address")?;
        let mut metrics = vec![router];
        for worker in &file.workers {
            metrics.push(addresses(&worker.name)?.metrics.context("a worker has no metrics")?);
        }
        Ok((router, metrics))
    }

    /// The processes of the workers.
    ///
    /// # Errors
    /// When a worker is gone.
    pub fn workers(&self) -> anyhow::Result<Vec<Process>> {
        let file = ClusterFile::read(&self.dir)?.context("the cluster's file is gone")?;
        let process = |name: &str| {
            let addresses =
                Addresses::read(&self.dir.join(name))?.with_context(|| format!("'{name}' is not running"))?;
            Ok(Process::new(addresses.pid))
        };
        file.workers.iter().map(|worker| process(&worker.name)).collect()
    }

    /// Kills the workers and waits until they are up again and have loaded what they serve.
    ///
    /// # Errors
    /// When a worker is gone for good or a version is not served again.
    pub fn restart_workers(&self) -> anyhow::Result<()> {
        let before: Vec<Process> = self.workers()?;
        for worker in &before {
            let killed = Command::new("kill").args(["-KILL", &worker.pid().to_string()]).status()?;
            anyhow::ensure!(killed.success(), "process {} cannot be ended", worker.pid());
        }
        let is_new = |workers: &[Process]| workers.iter().zip(&before).all(|(a, b)| a.pid() != b.pid());
        // Whoever has not beaten yet is still counted as it was before.
        let seen_at = Instant::now() + LEASE;
        self.wait_until(START_PATIENCE, || {
            Ok(Instant::now() >= seen_at && is_new(&self.workers()?) && self.serves()?)
        })
    }

    /// Waits until each shard of what is live is loaded by as many workers as should have it, at most this long.
    ///
    /// # Errors
    /// When it takes longer.
    pub fn wait_until_served(&self, patience: Duration) -> anyhow::Result<()> {
        self.wait_until(patience, || self.serves())
    }

    /// Whether something is served, and each shard of it by as many workers as should.
    fn serves(&self) -> anyhow::Result<bool> {
        let shards = &self.json(&["status"])?["shards"];
        Ok(shards["total"].as_u64() > Some(0) && shards["total"] == shards["fully_replicated"])
    }

    fn wait_until(
        &self,
        patience: Duration,
        mut is_so: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let give_up_at = Instant::now() + patience;
        while !is_so()? {
            if Instant::now() >= give_up_at {
                bail!("the workers do not serve after {patience:?}; see '{}'", self.dir.display());
            }
            pause();
        }
        Ok(())
    }

    /// The most memory that each worker has had resident so far, in bytes.
    ///
    /// # Errors
    /// When a worker is gone or the system does not say.
    pub fn peak_memory_of_workers(&self) -> anyhow::Result<Vec<u64>> {
        self.workers()?.iter().map(Process::peak_bytes).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let interrupt = Command::new("kill").args(["-INT", &self.up.id().to_string()]).status();
        let give_up_at = Instant::now() + STOP_PATIENCE;
        while interrupt.is_ok() && Instant::now() < give_up_at {
            if matches!(self.up.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            pause();
        }
        // Children notice that their parent is gone.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "no async runtime here")]
fn pause() {
    std::thread::sleep(POLL);
}
