//! One member of the group: its settings, and what it knows of who leads and how far the log is.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use super::disk::Disk;

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
    /// Messages of more bytes than this go in pieces ([`super::WHOLE_BYTES_MAX`] unless in tests).
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
