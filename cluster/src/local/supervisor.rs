//! Starts the processes of a plan, starts those that end again, and stops them in order: routers
//! first, so that no query meets a stopping worker; then workers; the coordinators last, because they
//! note that the others are leaving.
//!
//! One task owns each child. Before the cluster is up a child that keeps failing is an error to
//! report; afterwards it is started again for as long as it takes, ever more slowly.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shoal_common::{access::Scope, rpc::Channels, shutdown::Shutdown};
use shoal_proto::v1::{NodeHealth, NodeRole, TokenInfo};
use tokio::{sync::watch, time::Instant};

use super::{Addresses, LocalError, Plan, Process, Role, RoleProcess, admin_token_file, log_tail, put_aside};
use crate::client::ClusterClient;

/// A child that is asked to leave and does not is killed after this long: above the drain of a role.
const STOP_MAX: Duration = Duration::from_secs(15);
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(250);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A child that ran this long is taken to have been well.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// Ends of one child before the cluster is up, after which the start has failed.
const FAILURES_AT_START_MAX: u32 = 3;
/// The cluster is up within this, or the start has failed.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);
/// Exit code of a process whose settings were refused: starting it again would not help.
const EXIT_USAGE: i32 = 2;

/// Where sentences about children go.
pub type Notices = Arc<dyn Fn(&str) + Send + Sync>;

/// What the tasks of the children share.
#[derive(Clone)]
struct Watcher {
    program: PathBuf,
    notices: Notices,
    /// Whether the cluster has been up: from then on ends are no failures of the start.
    up: Arc<AtomicBool>,
    failed: watch::Sender<Option<Failed>>,
}

#[derive(Debug, Clone)]
struct Failed {
    name: String,
    how: String,
    log: PathBuf,
}

/// A running cluster. Drop it only after [`LocalCluster::stop`]; without, the children are killed.
pub struct LocalCluster {
    plan: Plan,
    /// In the order in which they are stopped.
    groups: [(Role, Shutdown); 3],
    up: Arc<AtomicBool>,
    failed: watch::Receiver<Option<Failed>>,
}

impl fmt::Debug for LocalCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCluster").field("dir", &self.plan.dir).finish_non_exhaustive()
    }
}

impl LocalCluster {
    /// Starts every process of the plan with `program` (this binary). Returns at once; see
    /// [`LocalCluster::ready`].
    ///
    /// # Errors
    /// When an old log cannot be put aside.
    pub fn start(plan: Plan, program: PathBuf, notices: Notices) -> Result<Self, LocalError> {
        let groups = [Role::Router, Role::Worker, Role::Coordinator].map(|role| (role, Shutdown::new()));
        let (failed, failures) = watch::channel(None);
        let up = Arc::new(AtomicBool::new(false));
        let watcher = Watcher { program, notices, up: Arc::clone(&up), failed };
        for process in plan.processes() {
            put_aside(&process.log).map_err(LocalError::file("rename", &process.log))?;
            for (role, shutdown) in &groups {
                if *role == process.role {
                    let task = keep_running(process.clone(), watcher.clone(), shutdown.clone());
                    shutdown.spawn("child process", task);
                }
            }
        }
        Ok(Self { plan, groups, up, failed: failures })
    }

    /// Waits until a leader is elected, every worker is known and the router answers. Then
    /// `cluster.json` says where.
    ///
    /// # Errors
    /// [`LocalError::Child`] when a child keeps failing, [`LocalError::NotUp`] after a minute.
    pub async fn ready(&mut self, channels: &Channels) -> Result<(), LocalError> {
        let token = self.plan.admin_token()?;
        let client = ClusterClient::new(channels.clone(), self.plan.file.coordinator_addresses());
        let client = client.with_token(token.as_ref());
        let give_up_at = Instant::now() + READY_MAX;
        loop {
            if let Some(failed) = self.failed.borrow_and_update().clone() {
                let tail = log_tail(&failed.log);
                return Err(LocalError::Child { name: failed.name, how: failed.how, log: failed.log, tail });
            }
            let missing = match self.missing(&client).await? {
                None => break,
                Some(missing) => missing,
            };
            if Instant::now() >= give_up_at {
                let (seconds, logs) = (READY_MAX.as_secs(), self.plan.logs());
                return Err(LocalError::NotUp { seconds, missing, logs });
            }
            // A failing child ends the pause early; a closed channel cannot be, the tasks hold it.
            let _ = tokio::time::timeout(READY_POLL, self.failed.changed()).await;
        }
        self.make_token_good(&client, give_up_at).await?;
        self.up.store(true, Ordering::Relaxed);
        self.plan.file.write(&self.plan.dir)
    }

    /// A token that was drawn for this start is the first of a new cluster. Where the file of an earlier token was lost, the
    /// certificate of the administrator makes the new one good.
    async fn make_token_good(&self, client: &ClusterClient, give_up_at: Instant) -> Result<(), LocalError> {
        let Some(token) = &self.plan.drawn_token else { return Ok(()) };
        loop {
            let reason = match client.tokens().await {
                Ok(known) if known.iter().any(|known| known.id == token.id()) => return Ok(()),
                // The leader makes the first token good by itself, as soon as it looks.
                Ok(known) if known.is_empty() => "the coordinators know no token yet".to_owned(),
                Ok(_) => {
                    let mut info = TokenInfo {
                        id: token.id().to_owned(),
                        label: "the owner of the local cluster".to_owned(),
                        sha256: token.digest().as_bytes().to_vec().into(),
                        ..TokenInfo::default()
                    };
                    info.push_scopes(Scope::Admin.to_wire());
                    match client.create_token(info).await {
                        Ok(_) => return Ok(()),
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() >= give_up_at {
                return Err(LocalError::TokenUnknown { path: admin_token_file(&self.plan.dir), reason });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// What the cluster still lacks, as half a sentence.
    async fn missing(&mut self, client: &ClusterClient) -> Result<Option<String>, LocalError> {
        for process in self.plan.processes() {
            match Addresses::read(&process.data_dir) {
                Ok(Some(addresses)) => {
                    let mut routers = self.plan.file.routers.iter_mut();
                    if let Some(router) = routers.find(|router| router.name == process.name) {
                        router.grpc = addresses.grpc;
                        router.http = addresses.http.unwrap_or(router.http);
                    }
                }
                Ok(None) => return Ok(Some(format!("{} does not listen yet", process.name))),
                Err(error) => {
                    return Err(LocalError::file("read", Addresses::path(&process.data_dir))(error));
                }
            }
        }
        let status = match client.clone().with_patience(READY_POLL).status().await {
            Ok(status) => status,
            Err(error) => return Ok(Some(format!("no coordinator leads: {error}"))),
        };
        let nodes = status.metadata.unwrap_or_default().nodes;
        let is_known = |name: &str| {
            nodes.iter().any(|node| {
                node.name == name && node.role() == NodeRole::Worker && node.health() == NodeHealth::Up
            })
        };
        let unknown = self.plan.file.workers.iter().find(|worker| !is_known(&worker.name));
        Ok(unknown.map(|worker| format!("{} has not joined", worker.name)))
    }

    /// Names and addresses; the ones actually listened on once [`LocalCluster::ready`] has returned.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Stops routers, then workers, then coordinators; each child is asked first and killed when it
    /// does not leave in time.
    pub async fn stop(self) {
        for (_, shutdown) in &self.groups {
            // Beyond the children's own deadline: the tasks end by themselves.
            shutdown.drain(STOP_MAX * 2).await;
        }
    }
}

/// Runs one child until a stop is asked for.
async fn keep_running(process: RoleProcess, watcher: Watcher, shutdown: Shutdown) {
    let mut pause = RESTART_PAUSE_MIN;
    let mut failures = 0;
    loop {
        let started = Instant::now();
        let (how, usage) = match Process::spawn(&watcher.program, &process) {
            Err(error) => (format!("cannot be started: {error}"), true),
            Ok(mut child) => {
                let ended = tokio::select! {
                    biased;
                    // A stop comes first: a child that ends while all are leaving is not to be started again.
                    () = shutdown.requested() => {
                        if !child.stop(STOP_MAX).await {
                            (watcher.notices)(&format!("{} did not leave in time and was killed", process.name));
                        }
                        return;
                    }
                    ended = child.wait() => ended,
                };
                let usage = ended.as_ref().is_ok_and(|status| status.code() == Some(EXIT_USAGE));
                (ended.map_or_else(|error| error.to_string(), |status| format!("ended ({status})")), usage)
            }
        };
        if started.elapsed() >= STABLE_AFTER {
            (pause, failures) = (RESTART_PAUSE_MIN, 0);
        }
        failures += 1;
        watcher.tell(&process, &how, pause, usage || failures >= FAILURES_AT_START_MAX);
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}

impl Watcher {
    fn tell(&self, process: &RoleProcess, how: &str, pause: Duration, hopeless: bool) {
        if !self.up.load(Ordering::Relaxed) {
            if hopeless {
                let (name, log) = (process.name.clone(), process.log.clone());
                self.failed.send_replace(Some(Failed { name, how: how.to_owned(), log }));
            }
            return;
        }
        let (name, log) = (&process.name, process.log.display());
        (self.notices)(&format!(
            "{name} {how}; starting it again in {:.1} s (log: {log})",
            pause.as_secs_f64()
        ));
    }
}
