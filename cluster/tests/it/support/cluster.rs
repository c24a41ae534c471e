//! A cluster that `shoal up` keeps running, and its processes one by one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::{Finished, Http, Running, eventually, folder, processes_of, shoal, signal};

/// How many processes, and their settings.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) coordinators: usize,
    pub(crate) workers: usize,
    /// Settings of nodes, each as `section.key=value`.
    pub(crate) settings: Vec<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { coordinators: 1, workers: 1, settings: Vec::new() }
    }
}

/// A running cluster in a folder of its own. Dropping it kills every process and waits until all are gone.
#[derive(Debug)]
pub(crate) struct Cluster {
    up: Running,
    url: String,
    dir: PathBuf,
    /// Removed after everything has ended.
    folder: Option<TempDir>,
}

impl Cluster {
    /// Starts a cluster and waits until it is up.
    pub(crate) async fn start(shape: Shape) -> Self {
        let folder = folder();
        let mut cluster = Self::start_in(folder.path(), shape).await;
        cluster.folder = Some(folder);
        cluster
    }

    /// Starts a cluster in a folder of the caller's.
    pub(crate) async fn start_in(folder: &Path, shape: Shape) -> Self {
        let dir = folder.join("cluster");
        let mut arguments: Vec<String> =
            ["up", "--supervised", "--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
        arguments.extend(["--dir".to_owned(), dir.display().to_string()]);
        arguments.extend(["--coordinators".to_owned(), shape.coordinators.to_string()]);
        arguments.extend(["--workers".to_owned(), shape.workers.to_string()]);
        // A busy machine is no fault: where nothing may fail, slowness must not count.
        let settings = std::iter::once("router.timeout_ms=10000".to_owned()).chain(shape.settings);
        arguments.extend(settings.flat_map(|setting| ["--set".to_owned(), setting]));
        let mut up = Running::start(folder, &arguments);
        let url = up.prints("the cluster is up", |text| {
            text.contains("Ctrl-C")
                .then(|| {
                    text.split_whitespace()
                        .find(|word| word.starts_with("http://") || word.starts_with("https://"))
                })?
                .map(str::to_owned)
        });
        let url = url.await;
        Self { up, url, dir, folder: None }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The address of the router.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(&self.url)
    }

    /// Runs a command on this cluster.
    pub(crate) fn shoal(&self, arguments: &[&str]) -> Finished {
        let dir = self.dir.display().to_string();
        shoal(&[arguments, &["--dir", &dir]].concat())
    }

    /// Imports a data set.
    pub(crate) fn import(&self, data: &Path, name: &str) -> Value {
        self.shoal(&["dataset", "import", data.to_str().unwrap(), "--name", name, "--json"]).json()
    }

    /// Trains a small version with further flags; its name.
    pub(crate) fn train(&self, flags: &[&str]) -> String {
        let small = ["train", "--models", "als", "--force", "--rank", "8", "--iterations", "3", "--json"];
        let job = self.shoal(&[&small, flags].concat()).json();
        job["model_version"].as_str().unwrap().to_owned()
    }

    /// The checksums of a data set's or version's objects by path, but for those of the files for people, which
    /// name the version, times and workers.
    pub(crate) fn checksums(&self, path: &str) -> BTreeMap<String, String> {
        let manifest = std::fs::read(self.dir.join("store").join(path).join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let objects = manifest["objects"].as_array().unwrap().iter();
        let objects = objects.map(|object| (text(&object["path"]), text(&object["checksum_xxh3_128"])));
        objects.filter(|(path, _)| path != "metadata.json" && path != "model_info.json").collect()
    }

    pub(crate) fn status(&self) -> Value {
        self.shoal(&["status", "--json"]).json()
    }

    /// The process of one node, once it is there.
    pub(crate) async fn pid(&self, name: &str) -> Pid {
        eventually(&format!("{name} runs"), || {
            let found = processes_of(&self.dir).into_iter().find(|(_, found)| found == name);
            found.map(|(pid, _)| pid)
        })
        .await
    }

    pub(crate) async fn signal(&self, name: &str, what: Signal) {
        signal(self.pid(name).await, what);
    }

    /// `kill -9`; returns when the process is gone.
    pub(crate) async fn kill(&self, name: &str) {
        let pid = self.pid(name).await;
        signal(pid, Signal::KILL);
        eventually(&format!("{name} is gone"), || {
            (!processes_of(&self.dir).iter().any(|(other, _)| *other == pid)).then_some(())
        })
        .await;
    }

    /// From now on what is killed stays away.
    pub(crate) fn hold_restarts(&self) {
        self.up.send(Signal::STOP);
    }

    /// What was killed comes back.
    pub(crate) fn let_restart(&self) {
        self.up.send(Signal::CONT);
    }

    /// The name of the coordinator that leads.
    pub(crate) fn leader(&self) -> String {
        let status = self.status();
        let coordinators = status["coordinators"].as_array().unwrap();
        let leader = coordinators.iter().find(|coordinator| coordinator["leader"] == true).unwrap();
        // Names count as raft numbers do.
        format!("coordinator-{}", leader["raft_id"])
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let status = self.shoal(&["status", "--json"]);
            let status = (status.code == Some(0)).then(|| status.json());
            status.filter(|status| wanted(status))
        })
        .await
    }

    /// Ctrl-C, and its end.
    pub(crate) async fn interrupt(&mut self) -> std::process::ExitStatus {
        self.up.send(Signal::INT);
        self.up.ends().await
    }

    /// Its end, which somebody else has asked for.
    pub(crate) async fn ends(&mut self) -> std::process::ExitStatus {
        self.up.ends().await
    }

    pub(crate) fn supervisor(&self) -> &Running {
        &self.up
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.up.send(Signal::KILL);
        loop {
            let left = processes_of(&self.dir);
            if left.is_empty() {
                return;
            }
            // Hung ones too: nothing survives this signal.
            left.iter().for_each(|(pid, _)| signal(*pid, Signal::KILL));
            std::thread::yield_now();
        }
    }
}
