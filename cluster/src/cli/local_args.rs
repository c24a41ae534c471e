//! Flags of the commands that run a local cluster, and running it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use shoal_common::store::{StoreError, StoreOptions};
use tokio::time::Instant;

use super::{
    connection::{DirArgs, channels},
    listen::listen_address,
    signals::Signals,
    store_options::{StoreOptionArgs, check_no_secret},
};
use crate::local::{FolderLock, LocalCluster, LocalError, Notices, Plan, Spec};

/// How long a start waits for the folder: a process that was just killed holds its lock until the system has cleared it away.
const HOLDER_PATIENCE: Duration = Duration::from_secs(3);

/// How long nodes of an earlier start may take to leave: longer than they drain.
const EARLIER_NODES_PATIENCE: Duration = Duration::from_secs(20);

/// How long the router of an earlier start may still hold its address.
const HTTP_PATIENCE: Duration = Duration::from_secs(3);

/// The shape of a local cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Local cluster")]
pub(super) struct LocalArgs {
    /// Coordinator processes: 1, 3 or 5 [default: as the folder has it, or 3]
    #[arg(long, value_name = "PROCESSES")]
    coordinators: Option<usize>,
    /// Worker processes [default: as the folder has it, or 3]
    #[arg(long, value_name = "PROCESSES")]
    workers: Option<usize>,
    /// Where HTTP clients call; port 0 picks a free one [default: as the folder has it, or 127.0.0.1:8000]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    http: Option<SocketAddr>,
    /// Any other setting of the nodes, such as coordinator.replicas=3; kept in the folder's settings.toml
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    store_options: StoreOptionArgs,
    /// Serve under TLS and let only certified nodes and administrators in, with certificates of the cluster's own;
    /// kept in the folder's certs
    #[arg(long)]
    tls: bool,
    /// With --tls, further names and addresses by which clients call this machine
    #[arg(long, value_name = "HOST", value_delimiter = ',', requires = "tls", hide_short_help = true)]
    tls_host: Vec<String>,
    /// Listen beyond this machine without certificates: whoever reaches it may ask anything
    #[arg(long, hide_short_help = true)]
    insecure: bool,
    #[command(flatten)]
    pub(super) dir: DirArgs,
    /// Leave when standard input is closed: for programs that start a cluster
    #[arg(long, hide = true)]
    supervised: bool,
}

impl LocalArgs {
    /// Hears signals for as long as the cluster runs.
    pub(super) fn signals(&self) -> anyhow::Result<Signals> {
        let signals = Signals::install()?;
        if self.supervised {
            signals.watch_parent()?;
        }
        Ok(signals)
    }

    /// Options of remote stores and sources.
    pub(super) fn store_options(&self) -> Result<StoreOptions, StoreError> {
        self.store_options.options()
    }

    pub(super) fn spec(&self, seed: Option<u64>) -> Result<Spec, StoreError> {
        check_no_secret(&self.set)?;
        let mut settings = self.set.clone();
        settings
            .extend(self.store_options.settings()?.into_iter().map(|(key, value)| format!("{key}={value}")));
        if self.insecure {
            settings.push("node.insecure=true".to_owned());
        }
        Ok(Spec {
            dir: self.dir.dir.clone(),
            coordinators: self.coordinators,
            workers: self.workers,
            http: self.http,
            seed,
            settings,
            tls: self.tls,
            tls_hosts: self.tls_host.clone(),
        })
    }
}

/// A running local cluster, with the lock of its folder.
#[derive(Debug)]
pub(super) struct Running {
    cluster: LocalCluster,
    _lock: FolderLock,
}

/// How a start ended.
pub(super) enum Start {
    /// The cluster is up.
    Up(Box<Running>),
    /// Ctrl-C was pressed before it was; it is stopped again.
    Interrupted,
}

/// Starts a local cluster and waits until it is up. What does not come up is stopped again.
pub(super) async fn start(spec: &Spec, signals: &mut Signals) -> anyhow::Result<Start> {
    // A folder that is there may be in use, which explains a taken port better than the port does.
    if !spec.dir.exists() {
        Plan::check(spec)?;
    }
    let notices: Notices = Arc::new(|sentence| crate::output::say(&format!("shoal: {sentence}")));
    // A holder that stays is named in the refusal; one that leaves in time is of no interest.
    let lock = tokio::select! {
        biased;
        () = signals.received() => return Ok(Start::Interrupted),
        lock = FolderLock::wait(&spec.dir, HOLDER_PATIENCE, || {}) => lock?,
    };
    let left = tokio::select! {
        biased;
        () = signals.received() => return Ok(Start::Interrupted),
        left = leave_of_earlier_nodes(&spec.dir, &notices) => left,
    };
    left?;
    let plan = prepare(spec).await?;
    if !plan.kept_settings.is_empty() {
        let names = plan.kept_settings.join(", ");
        notices(&format!("as at the last start: {names} (settings.toml in the folder)"));
    }
    plan.remarks.iter().for_each(|remark| notices(remark));
    if plan.is_exposed() {
        notices(&format!(
            "INSECURE: other machines reach {}, and whoever does may ask anything; --tls has the cluster speak TLS",
            plan.http_url()
        ));
    }
    let mut cluster = LocalCluster::start(plan, program()?, notices)?;
    let channels = channels(cluster.plan().settings.certs().as_deref())?;
    let ready = tokio::select! {
        biased;
        // Whoever presses Ctrl-C no longer wants the cluster.
        () = signals.received() => None,
        ready = cluster.ready(&channels) => Some(ready),
    };
    match ready {
        Some(Ok(())) => Ok(Start::Up(Box::new(Running { cluster, _lock: lock }))),
        Some(Err(error)) => {
            cluster.stop().await;
            Err(error.into())
        }
        None => {
            cluster.stop().await;
            Ok(Start::Interrupted)
        }
    }
}

/// Waits for the nodes of an earlier start whose parent was killed: they notice and leave, but not at once.
async fn leave_of_earlier_nodes(dir: &Path, notices: &Notices) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.join("lock").is_file()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let say = || notices(&format!("{name} of the last start is still leaving, waiting for it"));
        drop(FolderLock::wait(&folder, EARLIER_NODES_PATIENCE, say).await?);
    }
    Ok(())
}

/// Prepares the cluster. A process that was just killed may hold the address for HTTP for a moment, which is waited
/// for where the folder had a cluster before.
async fn prepare(spec: &Spec) -> Result<Plan, LocalError> {
    let founded = spec.dir.join("cluster.json").exists();
    let give_up_at = Instant::now() + if founded { HTTP_PATIENCE } else { Duration::ZERO };
    loop {
        match Plan::prepare(spec) {
            Err(LocalError::Http { source, .. })
                if source.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < give_up_at =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            prepared => return prepared,
        }
    }
}

impl Running {
    pub(super) fn plan(&self) -> &Plan {
        self.cluster.plan()
    }

    pub(super) fn http_url(&self) -> String {
        self.plan().http_url()
    }

    /// Stops every child, then gives the folder back.
    pub(super) async fn stop(self) {
        self.cluster.stop().await;
    }
}

/// This binary: the children run it too.
fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot tell where this program is")
}
