//! A group of members over real sockets, each in a runtime of its own, so that one can be killed where
//! it stands.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use shoal_common::{
    access::Guard,
    audit::Audit,
    rpc::{Channels, MESSAGE_BYTES_MAX, tuned_server},
    shutdown::Shutdown,
};
use shoal_coordinator::raft::{self, Disk, LocalDisk, ProposeError, RaftConfig, RaftHandle, RaftStartError};
use shoal_proto::v1::raft_server::RaftServer;
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use super::{
    PATIENCE,
    door::Door,
    eventually,
    ledger::{Applied, Gate, Ledger},
};

pub(crate) const CLUSTER: &str = "c";

/// What a group's members have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) tick: Duration,
    pub(crate) snapshot_every_entries: u64,
    /// Ticks without a leader after which a member asks for votes; drawn at random when nothing is said.
    pub(crate) election_ticks: Option<usize>,
    /// Messages of more bytes go in pieces.
    pub(crate) whole_bytes_max: usize,
    /// Bytes that every snapshot has besides.
    pub(crate) ballast: usize,
}

impl Default for Settings {
    /// Elections within a second, and no snapshots.
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(30),
            snapshot_every_entries: 1_000_000,
            election_ticks: None,
            whole_bytes_max: raft::WHOLE_BYTES_MAX,
            ballast: 0,
        }
    }
}

/// One member that runs.
pub(crate) struct Member {
    pub(crate) handle: RaftHandle<Vec<Applied>>,
    runtime: Runtime,
}

impl Member {
    /// Starts a member on its folder. Elections of a lone member take no longer than its ticks.
    pub(crate) fn start(config: RaftConfig, ledger: Ledger, door: &Door) -> Result<Self, RaftStartError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let entered = runtime.enter();
        let started = raft::start(config, ledger, Channels::tcp(), Shutdown::new());
        let (handle, service) = match started {
            Ok(started) => started,
            Err(error) => {
                drop(entered);
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let service = RaftServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
        runtime.spawn(
            tuned_server(Guard::open(), Audit::nowhere().layer())
                .add_service(service)
                .serve_with_incoming(door.enter()),
        );
        drop(entered);
        Ok(Self { handle, runtime })
    }

    /// Ends it between two steps of its tasks; nothing is handed over or written.
    pub(crate) async fn kill(self) {
        let runtime = self.runtime;
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.handle.leadership().borrow().is_leader
    }

    pub(crate) fn view(&self) -> Arc<Vec<Applied>> {
        Arc::clone(&self.handle.view().borrow())
    }

    pub(crate) fn applied_index(&self) -> u64 {
        self.handle.status().borrow().applied_index
    }

    /// Proposes one command; its index.
    pub(crate) async fn propose(&self, name: &str) -> Result<u64, ProposeError> {
        self.propose_bytes(Bytes::copy_from_slice(name.as_bytes())).await
    }

    pub(crate) async fn propose_bytes(&self, command: Bytes) -> Result<u64, ProposeError> {
        let reply = self.handle.propose(command, Instant::now() + PATIENCE).await?;
        let index = u64::from_le_bytes(reply[..].try_into().unwrap());
        let is_seen = self.view().binary_search_by_key(&index, |applied| applied.index).is_ok();
        assert!(is_seen, "whoever has an answer finds its effect in the view");
        Ok(index)
    }

    pub(crate) async fn read(&self) -> Arc<Vec<Applied>> {
        self.handle.read(Instant::now() + PATIENCE).await.unwrap()
    }
}

/// Members by number, some of which may be away.
pub(crate) struct Group {
    folder: TempDir,
    settings: Settings,
    disk: Arc<dyn Disk>,
    doors: BTreeMap<u64, Door>,
    running: BTreeMap<u64, Member>,
}

impl Group {
    /// A group of `size` members, all of them running.
    pub(crate) fn start(size: u64, settings: Settings) -> Self {
        let mut group = Self::found(size, settings);
        for id in 1..=size {
            group.revive(id);
        }
        group
    }

    /// A group of which nobody runs yet.
    pub(crate) fn found(size: u64, settings: Settings) -> Self {
        Self::found_on(Arc::new(LocalDisk), size, settings)
    }

    pub(crate) fn found_on(disk: Arc<dyn Disk>, size: u64, settings: Settings) -> Self {
        let doors = (1..=size).map(|id| (id, Door::open())).collect();
        Self { folder: tempfile::tempdir().unwrap(), settings, disk, doors, running: BTreeMap::new() }
    }

    pub(crate) fn folder_of(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    pub(crate) fn config_of(&self, id: u64) -> RaftConfig {
        config(&self.folder_of(id), Arc::clone(&self.disk), id, &self.doors, self.settings)
    }

    pub(crate) fn address_of(&self, id: u64) -> String {
        self.doors[&id].address()
    }

    /// Where a member listens, for whoever stands in for it.
    pub(crate) fn door(&self, id: u64) -> &Door {
        &self.doors[&id]
    }

    pub(crate) fn set_snapshot_every(&mut self, entries: u64) {
        self.settings.snapshot_every_entries = entries;
    }

    /// Starts a member, for the first time or on what it has on disk.
    pub(crate) fn revive(&mut self, id: u64) {
        self.revive_behind(id, Gate::default());
    }

    pub(crate) fn revive_behind(&mut self, id: u64, gate: Gate) {
        let member = Member::start(
            self.config_of(id),
            Ledger::behind(gate).with_ballast(self.settings.ballast),
            &self.doors[&id],
        )
        .unwrap();
        assert!(self.running.insert(id, member).is_none(), "member {id} runs already");
    }

    pub(crate) async fn kill(&mut self, id: u64) {
        self.doors[&id].leave();
        self.running.remove(&id).unwrap().kill().await;
    }

    pub(crate) async fn kill_all(mut self) {
        for id in self.ids() {
            self.kill(id).await;
        }
    }

    /// The members that run.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    pub(crate) fn member(&self, id: u64) -> &Member {
        &self.running[&id]
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.running.values()
    }

    /// Waits for a leader; of two that both think so, the one of the newer term.
    pub(crate) async fn leader(&self) -> u64 {
        eventually("somebody leads", || {
            let leading = self.running.iter().filter(|(_, member)| member.is_leader());
            leading.max_by_key(|(_, member)| member.handle.leadership().borrow().term).map(|(id, _)| *id)
        })
        .await
    }

    /// Proposes a command to whoever leads until it is known to be applied; its index. Of one whose fate is not
    /// known it is waited for what became of it.
    pub(crate) async fn commit(&self, name: &str) -> u64 {
        self.commit_bytes(name, Bytes::copy_from_slice(name.as_bytes())).await
    }

    pub(crate) async fn commit_bytes(&self, name: &str, command: Bytes) -> u64 {
        loop {
            let leader = self.member(self.leader().await);
            match leader.propose_bytes(command.clone()).await {
                Ok(index) => return index,
                Err(ProposeError::Unknown) => {
                    // Whoever leads next knows; a read waits for that.
                    let known = self.member(self.leader().await).read().await;
                    if let Some(applied) = known.iter().find(|applied| applied.name == name) {
                        return applied.index;
                    }
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Commits `count` commands with names of their own.
    pub(crate) async fn commit_many(&self, prefix: &str, count: usize) {
        for number in 0..count {
            self.commit(&format!("{prefix}{number}")).await;
        }
    }

    /// Waits until every running member has applied everything, and all have the same; what that is.
    pub(crate) async fn agreed(&self) -> Arc<Vec<Applied>> {
        let newest = self.member(self.leader().await).read().await;
        for member in self.members() {
            eventually("every member has applied everything", || {
                (member.view().len() >= newest.len()).then_some(())
            })
            .await;
            assert_eq!(member.view()[..newest.len()], newest[..]);
        }
        newest
    }
}

fn config(
    folder: &Path,
    disk: Arc<dyn Disk>,
    raft_id: u64,
    doors: &BTreeMap<u64, Door>,
    settings: Settings,
) -> RaftConfig {
    RaftConfig {
        cluster_id: CLUSTER.to_owned(),
        raft_id,
        peers: doors.iter().map(|(id, door)| (*id, door.address())).collect(),
        tick: settings.tick,
        snapshot_every_entries: settings.snapshot_every_entries,
        folder: folder.to_owned(),
        disk,
        whole_bytes_max: settings.whole_bytes_max,
        pinned_election_ticks: settings.election_ticks,
    }
}

/// The names of commands, in order.
pub(crate) fn names(applied: &[Applied]) -> Vec<&str> {
    applied.iter().map(|applied| applied.name.as_str()).collect()
}
