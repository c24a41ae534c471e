//! The raft group: agreement on a sequence of commands, and a state machine that applies it.
//!
//! One task, the `driver`, owns the raft node, its log and the state machine; everything else
//! talks to it through a bounded `inbox` and sees copies, the `outlets`. `log_store` is what is on
//! `disk`, `transport` what goes over the wire, `pieces` how long messages do, `door` what of it is refused, and `lost_log` brings back a member that has lost
//! what it had. Every member founds the group from the same synthetic snapshot, so membership always
//! comes from snapshot and log.
//!
//! Caveats: the driver writes its log from the async task itself (one fsync a turn), so it wants a
//! runtime with more than one thread; members cannot be added or removed at run time yet.

mod disk;
mod door;
mod driver;
mod inbox;
mod log_files;
mod log_store;
mod lost_log;
mod outlets;
mod pieces;
mod transport;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use shoal_common::{rpc::Channels, shutdown::Shutdown};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

pub use self::{
    disk::{Disk, LocalDisk},
    log_store::LogStoreError,
    pieces::WHOLE_BYTES_MAX,
    transport::RaftTransportService,
};
use self::{
    driver::Driver,
    inbox::{Event, Inbox},
};

/// A snapshot that the state machine cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot cannot be restored: {0}")]
pub struct RestoreError(pub String);

/// The replicated state: pure, owned by the driver.
pub trait StateMachine: Send + 'static {
    /// The state as readers see it.
    type View: Send + Sync + 'static;

    /// Applies one committed command and returns the reply for whoever proposed it. The same
    /// commands in the same order give the same state and replies on every member.
    fn apply(&mut self, index: u64, command: &[u8]) -> Bytes;

    /// The whole state as bytes, from which `restore` makes it again.
    fn snapshot(&self) -> Bytes;

    /// Whether another member's snapshot is one of this group that this release can read. Changes nothing.
    ///
    /// # Errors
    /// Why it is not.
    fn check(&self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// Replaces the state by that of a snapshot.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of this release.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// The state as readers see it; cheap.
    fn view(&self) -> Arc<Self::View>;
}

/// One member's settings.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// Envelopes of other clusters are refused.
    pub cluster_id: String,
    /// Number of this member in the group, from 1.
    pub raft_id: u64,
    /// Every founding member and its address.
    pub peers: BTreeMap<u64, String>,
    /// One raft tick: heartbeats every 2, elections after 10 to 20.
    pub tick: Duration,
    /// Applied entries between snapshots.
    pub snapshot_every_entries: u64,
    /// The log's folder, used by this member alone.
    pub folder: PathBuf,
    /// What the folder is on.
    pub disk: Arc<dyn Disk>,
    /// Messages of more bytes than this go in pieces ([`WHOLE_BYTES_MAX`] unless in tests).
    pub whole_bytes_max: usize,
    /// Fixes the election timeout, raft's only random choice (for simulation).
    pub pinned_election_ticks: Option<usize>,
}

/// Who leads, as this member knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Number of the leadership, as far as this member knows.
    pub term: u64,
    /// The leader's number, if one is known.
    pub leader_id: Option<u64>,
    /// Where the leader is reached; `None` while there is none.
    pub leader_address: Option<String>,
    /// Whether this member leads and has committed an entry of its own term, so that it knows
    /// everything acknowledged before.
    pub is_leader: bool,
}

/// Where this member is in the log, and for a leader where the others are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// Number of the leadership, as far as this member knows.
    pub term: u64,
    /// Everything up to here is agreed on.
    pub commit_index: u64,
    /// Everything up to here is in the state.
    pub applied_index: u64,
    /// The leader's view of every member; empty on others.
    pub peers: Vec<PeerStatus>,
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Number of the member in the group.
    pub id: u64,
    /// Where the member's raft messages go, as host:port.
    pub address: String,
    /// The last index it is known to hold.
    pub matched: u64,
    /// Whether it was heard of within the last election timeout.
    pub recently_active: bool,
}

/// Why a proposal has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another member leads, or nobody does.
    #[error("this coordinator does not lead")]
    NotLeader {
        /// Where to ask instead, if known.
        leader_address: Option<String>,
    },
    /// Leadership moved or time ran out: the command may or may not be applied.
    #[error("it is not known whether the change was made; look before trying again")]
    Unknown,
    /// Too much is waiting.
    #[error("the coordinator is overloaded; try again")]
    Busy,
    /// The command would not fit into a message to the other members.
    #[error(
        "a change of {size_bytes} bytes is larger than the {COMMAND_BYTES_MAX} that coordinators agree on; make it smaller"
    )]
    TooLarge {
        /// Bytes of the command.
        size_bytes: usize,
    },
    /// The member has stopped; the command went nowhere.
    #[error("the coordinator is stopping")]
    Stopped,
}

/// Why a linearizable read has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed the read in time.
    #[error("no quorum of coordinators answered in time; try again")]
    Timeout,
    /// The member is stopping.
    #[error("the coordinator is stopping")]
    Stopped,
}

/// The member cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RaftStartError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogStoreError),
    /// The state in the log cannot be read.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// raft refuses the settings or the log.
    #[error("raft cannot start from this log")]
    Raft(#[source] raft::Error),
}

/// The largest command that is proposed. An entry that no message can carry would stop the group for good;
/// the largest that people make (a data set of thousands of shards) stays far below.
pub const COMMAND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a read waits before it asks anew: the request is dropped silently when nobody leads.
const READ_RETRY: Duration = Duration::from_millis(300);

/// Talks to the member's driver. Clones share it.
#[derive(Debug)]
pub struct RaftHandle<V> {
    inbox: Inbox<V>,
    view: watch::Receiver<Arc<V>>,
    leadership: watch::Receiver<Leadership>,
    status: watch::Receiver<RaftStatus>,
}

impl<V> Clone for RaftHandle<V> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            view: self.view.clone(),
            leadership: self.leadership.clone(),
            status: self.status.clone(),
        }
    }
}

impl<V: Send + Sync + 'static> RaftHandle<V> {
    /// Proposes a command; the reply comes when it is applied here, which means that a quorum has
    /// it on disk.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, command: Bytes, deadline: Instant) -> Result<Bytes, ProposeError> {
        let size_bytes = command.len();
        if size_bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { size_bytes });
        }
        let (reply, answer) = oneshot::channel();
        self.inbox.propose(command, reply)?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The driver went away with the command, or is still waiting for a quorum.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// The state as of now: it holds everything that was acknowledged before the call.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, deadline: Instant) -> Result<Arc<V>, ReadError> {
        loop {
            let (reply, answer) = oneshot::channel();
            match self.inbox.events.try_send(Event::Read { reply }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ReadError::Stopped),
                Err(mpsc::error::TrySendError::Full(_)) => tokio::time::sleep(READ_RETRY).await,
            }
            let retry_at = (Instant::now() + READ_RETRY).min(deadline);
            if let Ok(Ok(view)) = tokio::time::timeout_at(retry_at, answer).await {
                return Ok(view);
            }
            if Instant::now() >= deadline {
                return Err(ReadError::Timeout);
            }
        }
    }

    /// The state here, which may lag behind.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<Arc<V>> {
        self.view.clone()
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Where the log is.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.status.clone()
    }

    /// Completes when the member's driver has ended: when it was told to stop, or because it cannot go on.
    pub async fn stopped(&self) {
        self.inbox.events.closed().await;
    }

    /// Hands leadership to the member that is furthest, if this one leads; before a planned stop.
    pub async fn step_down(&self) {
        // A full inbox or a stopped driver leaves it to the election timeout.
        let _ = self.inbox.events.send(Event::StepDown).await;
    }
}

/// Opens the log, restores the state and starts the driver and the links to the other members.
///
/// # Errors
/// When the log is damaged or belongs to another group.
pub fn start<S: StateMachine>(
    config: RaftConfig,
    machine: S,
    channels: Channels,
    shutdown: Shutdown,
) -> Result<(RaftHandle<S::View>, RaftTransportService), RaftStartError> {
    let (inbox, events) = Inbox::new();
    let links = transport::start_links(&config, &channels, &inbox, &shutdown);
    let refusals = door::Refusals::new();
    let service = RaftTransportService::new(&config, &inbox, refusals.clone(), shutdown.token());
    let (driver, outlets) = Driver::open(config, machine, events, links, refusals)?;
    let handle =
        RaftHandle { inbox, view: outlets.view, leadership: outlets.leadership, status: outlets.status };
    let token = shutdown.token();
    shutdown.spawn("raft", driver.run(token));
    Ok((handle, service))
}

/// Opens the log in a folder as one of the members of `cluster_id`, and closes it. For fuzz targets, as the next.
///
/// # Errors
/// When the log is damaged or another member's.
#[doc(hidden)]
pub fn open_log(folder: &std::path::Path, cluster_id: &str, initial: &[u8]) -> Result<(), LogStoreError> {
    let owner = log_store::Owner { cluster_id: cluster_id.to_owned(), raft_id: 1, voters: vec![1] };
    let store = log_store::LogStore::open(folder, Arc::new(LocalDisk), owner, initial)?;
    store.snapshot_state().map(drop)
}

/// Parses what an envelope carries, and looks at it as the door does.
///
/// # Errors
/// Why it is no raft message, or none that a member sends.
#[doc(hidden)]
pub fn read_message(bytes: &[u8]) -> Result<(), String> {
    let message = transport::parse(bytes).map_err(|status| status.message().to_owned())?;
    door::check_form(&message).map_err(|refusal| refusal.to_string())
}
