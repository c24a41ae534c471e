//! What a member has on disk: entries, hard state and positions in one log with one fsync a turn;
//! the state of the last snapshot in a file of its own.
//!
//! The log names the snapshot file that counts; the file is written and synced first. A crash
//! between the two leaves an unused file, which the next start removes.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata},
};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize};
use shoal_common::{private_files, store::write_durably};

use super::{
    disk::{Disk, Files},
    log_error::LogStoreError,
    log_files,
};

/// The engine can hold many groups; a coordinator has one.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const SNAPSHOT: &[u8] = b"snapshot";
const TRUNCATED: &[u8] = b"truncated";
const OWNER: &[u8] = b"owner";
const OPENINGS: &[u8] = b"openings";

/// Entries kept behind a snapshot, so that a member that lags a little needs no snapshot.
const TAIL_ENTRIES: u64 = 256;

/// Whose log it is: a vote that another member gave must not count as this one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) cluster_id: String,
    pub(super) raft_id: u64,
    /// The members that found the group, ascending.
    pub(super) voters: Vec<u64>,
}

impl fmt::Display for Owner {
    /// As the log keeps it. The voters are in the snapshot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} of cluster '{}'", self.raft_id, self.cluster_id)
    }
}

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    index: u64,
    term: u64,
}

/// One member's log. Owned by the driver (through the raft node).
pub(super) struct LogStore {
    engine: Engine<Files>,
    folder: PathBuf,
    hard_state: HardState,
    snapshot: SnapshotMetadata,
    /// The last entry that is no longer there.
    truncated: Position,
    last_index: u64,
    owner: Owner,
    /// How often the log was opened, this time included.
    openings: u64,
}

impl LogStore {
    /// Opens the log, or founds it: a synthetic snapshot at index 1, term 1 with all voters and the state
    /// `initial`, the same on every member.
    pub(super) fn open(
        folder: &Path,
        disk: Arc<dyn Disk>,
        owner: Owner,
        initial: &[u8],
    ) -> Result<Self, LogStoreError> {
        let config = Config {
            dir: folder.join("log").display().to_string(),
            target_file_size: ReadableSize::mb(4),
            purge_threshold: ReadableSize::mb(16),
            ..Config::default()
        };
        let failed = |source| LogStoreError::SnapshotFile {
            action: "create the folder of",
            path: folder.to_owned(),
            source,
        };
        make_folder(folder).map_err(failed)?;
        log_files::check_alignments(folder)?;
        let engine = Engine::open_with_file_system(config, Arc::new(Files(disk)))
            .map_err(|source| LogStoreError::Engine { action: "open", folder: folder.to_owned(), source })?;
        close_to_others(&folder.join("log")).map_err(failed)?;
        let mut store = Self {
            engine,
            folder: folder.to_owned(),
            hard_state: HardState::default(),
            snapshot: SnapshotMetadata::default(),
            truncated: Position::default(),
            last_index: 0,
            owner,
            openings: 0,
        };
        if store.message::<SnapshotMetadata>(SNAPSHOT)?.is_none() {
            store.found(initial)?;
        }
        store.load()?;
        store.check_owner()?;
        store.count_opening()?;
        store.remove_unused_snapshots();
        Ok(store)
    }

    fn found(&mut self, initial: &[u8]) -> Result<(), LogStoreError> {
        let founding = Position { index: 1, term: 1 };
        let mut conf_state = ConfState::default();
        conf_state.set_voters(self.owner.voters.clone());
        let mut metadata =
            SnapshotMetadata { index: founding.index, term: founding.term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(conf_state);
        let hard_state = HardState { term: founding.term, commit: founding.index, ..HardState::default() };
        self.write_snapshot_file(founding.index, initial)?;
        let mut batch = LogBatch::default();
        self.put_keys(&mut batch, &hard_state, &metadata, founding)?;
        self.write(&mut batch)
    }

    fn check_owner(&self) -> Result<(), LogStoreError> {
        let owner = &self.owner;
        let foreign = |reason| LogStoreError::Foreign { folder: self.folder.clone(), reason };
        let known = self.engine.get(GROUP, OWNER).unwrap_or_default();
        if known != owner.to_string().as_bytes() {
            let known = String::from_utf8_lossy(&known);
            return Err(foreign(format!("it belongs to {known}, this is {owner}")));
        }
        let mut voters = self.snapshot.get_conf_state().get_voters().to_vec();
        voters.sort_unstable();
        if voters != owner.voters {
            return Err(foreign(format!(
                "its group has the members {voters:?}, the configuration names {:?}",
                owner.voters
            )));
        }
        Ok(())
    }

    fn count_opening(&mut self) -> Result<(), LogStoreError> {
        let known = self.engine.get(GROUP, OPENINGS).and_then(|bytes| bytes.try_into().ok());
        self.openings = known.map_or(0, u64::from_le_bytes) + 1;
        let mut batch = LogBatch::default();
        self.put_bytes(&mut batch, OPENINGS, self.openings.to_le_bytes().to_vec())?;
        self.write(&mut batch)
    }

    /// How often the log was opened, this time included: tells what this run asks from what an earlier one did.
    pub(super) fn openings(&self) -> u64 {
        self.openings
    }

    fn load(&mut self) -> Result<(), LogStoreError> {
        let missing = |what: &str| self.mismatch(format!("it has no {what}"));
        let hard_state = self.message(HARD_STATE)?.ok_or_else(|| missing("hard state"))?;
        let snapshot = self.message(SNAPSHOT)?.ok_or_else(|| missing("snapshot"))?;
        let truncated: Entry = self.message(TRUNCATED)?.ok_or_else(|| missing("start"))?;
        (self.hard_state, self.snapshot) = (hard_state, snapshot);
        self.truncated = Position { index: truncated.index, term: truncated.term };
        self.last_index = self.engine.last_index(GROUP).unwrap_or(self.truncated.index);
        let first = self.engine.first_index(GROUP);
        if first.is_some_and(|first| first > self.truncated.index + 1)
            || self.snapshot.index > self.last_index
        {
            return Err(self.mismatch(format!(
                "entries start at {first:?} and end at {}, after a start at {} and a snapshot at {}",
                self.last_index, self.truncated.index, self.snapshot.index
            )));
        }
        let commit = self.hard_state.commit;
        if commit > self.last_index || commit < self.snapshot.index {
            return Err(self.mismatch(format!(
                "entries up to {commit} are committed, but it has a snapshot at {} and ends at {}",
                self.snapshot.index, self.last_index
            )));
        }
        let last_term = self.term(self.last_index);
        let last_term =
            last_term.map_err(|error| self.mismatch(format!("its last entry cannot be read: {error}")))?;
        if last_term > self.hard_state.term {
            return Err(self.mismatch(format!(
                "its last entry is of term {last_term}, but it knows of no term after {}",
                self.hard_state.term
            )));
        }
        Ok(())
    }

    /// Where the machine starts: the last snapshot's index and state.
    pub(super) fn snapshot_state(&self) -> Result<(u64, Vec<u8>), LogStoreError> {
        let path = self.snapshot_path(self.snapshot.index);
        let state = std::fs::read(&path);
        Ok((
            self.snapshot.index,
            state.map_err(|source| LogStoreError::SnapshotFile { action: "read", path, source })?,
        ))
    }

    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.index
    }

    /// Appends entries and the hard state, both with one fsync.
    pub(super) fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), LogStoreError> {
        let mut batch = LogBatch::default();
        if !entries.is_empty() {
            let added = batch.add_entries::<Entries>(GROUP, entries);
            added.map_err(|source| self.failed("write", source))?;
        }
        if let Some(hard_state) = hard_state {
            self.put(&mut batch, HARD_STATE, hard_state)?;
        }
        self.write(&mut batch)?;
        if let Some(last) = entries.last() {
            self.last_index = last.index;
        }
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state.clone();
        }
        Ok(())
    }

    /// Replaces log and snapshot by one that the leader has sent.
    pub(super) fn install(
        &mut self,
        snapshot: &Snapshot,
        hard_state: &HardState,
    ) -> Result<(), LogStoreError> {
        let metadata = snapshot.get_metadata();
        let position = Position { index: metadata.index, term: metadata.term };
        // The state first: the record that follows makes it count.
        self.write_snapshot_file(metadata.index, snapshot.get_data())?;
        let mut batch = LogBatch::default();
        // Entries after the snapshot's contradict it, so nothing stays but what is put anew.
        batch.add_command(GROUP, Command::Clean);
        self.put_keys(&mut batch, hard_state, metadata, position)?;
        self.write(&mut batch)?;
        self.hard_state = hard_state.clone();
        self.snapshot = metadata.clone();
        self.truncated = position;
        self.last_index = metadata.index;
        self.remove_unused_snapshots();
        Ok(())
    }

    /// Keeps `state`, which is that after the entry at `applied`, and drops the entries before it but for a tail.
    /// What is applied is committed, which raft does not have persisted at once: the record says so, or a
    /// start from it would find less committed than applied.
    pub(super) fn take_snapshot(
        &mut self,
        applied: u64,
        conf_state: &ConfState,
        state: &[u8],
    ) -> Result<(), LogStoreError> {
        let term = self
            .term(applied)
            .map_err(|error| self.mismatch(format!("entry {applied} has no term: {error}")))?;
        let mut metadata = SnapshotMetadata { index: applied, term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(conf_state.clone());
        self.write_snapshot_file(applied, state)?;
        let truncate_to = applied.saturating_sub(TAIL_ENTRIES).max(self.truncated.index);
        let term = self.term(truncate_to);
        let term =
            term.map_err(|error| self.mismatch(format!("entry {truncate_to} has no term: {error}")))?;
        let truncated = Position { index: truncate_to, term };
        let mut hard_state = self.hard_state.clone();
        hard_state.commit = hard_state.commit.max(applied);
        let mut batch = LogBatch::default();
        self.put(&mut batch, HARD_STATE, &hard_state)?;
        self.put(&mut batch, SNAPSHOT, &metadata)?;
        self.put_truncated(&mut batch, truncated)?;
        batch.add_command(GROUP, Command::Compact { index: truncate_to + 1 });
        self.write(&mut batch)?;
        self.hard_state = hard_state;
        self.snapshot = metadata;
        self.truncated = truncated;
        self.remove_unused_snapshots();
        self.engine.purge_expired_files().map_err(|source| self.failed("shorten", source))?;
        Ok(())
    }

    fn write(&self, batch: &mut LogBatch) -> Result<(), LogStoreError> {
        self.engine.write(batch, true).map(drop).map_err(|source| self.failed("write", source))
    }

    fn message<M: protobuf::Message>(&self, key: &[u8]) -> Result<Option<M>, LogStoreError> {
        self.engine.get_message(GROUP, key).map_err(|source| self.failed("read", source))
    }

    fn put<M: protobuf::Message>(
        &self,
        batch: &mut LogBatch,
        key: &[u8],
        message: &M,
    ) -> Result<(), LogStoreError> {
        batch.put_message(GROUP, key.to_vec(), message).map_err(|source| self.failed("write", source))
    }

    /// Everything that the log keeps besides entries.
    fn put_keys(
        &self,
        batch: &mut LogBatch,
        hard_state: &HardState,
        snapshot: &SnapshotMetadata,
        truncated: Position,
    ) -> Result<(), LogStoreError> {
        self.put_bytes(batch, OWNER, self.owner.to_string().into_bytes())?;
        self.put_bytes(batch, OPENINGS, self.openings.to_le_bytes().to_vec())?;
        self.put(batch, HARD_STATE, hard_state)?;
        self.put(batch, SNAPSHOT, snapshot)?;
        self.put_truncated(batch, truncated)
    }

    fn put_bytes(&self, batch: &mut LogBatch, key: &[u8], bytes: Vec<u8>) -> Result<(), LogStoreError> {
        batch.put(GROUP, key.to_vec(), bytes).map_err(|source| self.failed("write", source))
    }

    fn put_truncated(&self, batch: &mut LogBatch, position: Position) -> Result<(), LogStoreError> {
        let entry = Entry { index: position.index, term: position.term, ..Entry::default() };
        self.put(batch, TRUNCATED, &entry)
    }

    fn failed(&self, action: &'static str, source: raft_engine::Error) -> LogStoreError {
        LogStoreError::Engine { action, folder: self.folder.clone(), source }
    }

    fn mismatch(&self, reason: String) -> LogStoreError {
        LogStoreError::Mismatch { folder: self.folder.clone(), reason }
    }

    fn snapshot_path(&self, index: u64) -> PathBuf {
        self.folder.join(format!("snapshot-{index:020}.bin"))
    }

    fn write_snapshot_file(&self, index: u64, state: &[u8]) -> Result<(), LogStoreError> {
        let path = self.snapshot_path(index);
        write_durably(&path, state).map_err(|source| LogStoreError::SnapshotFile {
            action: "write",
            path,
            source,
        })
    }

    /// Removes files of older snapshots and of writes that a crash cut off. One that cannot be removed now is
    /// found again at the next start.
    fn remove_unused_snapshots(&self) {
        let used = self.snapshot_path(self.snapshot.index);
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for file in files {
            if file.file_name().to_string_lossy().starts_with("snapshot-") && file.path() != used {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// The engine makes its folder and its lock for everybody to look into; logs of earlier builds are so too.
fn close_to_others(engine: &Path) -> io::Result<()> {
    private_files::create_folder(engine)?;
    for entry in std::fs::read_dir(engine)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            private_files::restrict(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes the folder, and sees to it that its entry in the folder above survives a crash.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    private_files::create_folder(folder)?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState {
            hard_state: self.hard_state.clone(),
            conf_state: self.snapshot.get_conf_state().clone(),
        })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let max_size = max_size.into().and_then(|bytes| usize::try_from(bytes).ok());
        let mut entries = Vec::new();
        let fetched = self.engine.fetch_entries_to::<Entries>(GROUP, low, high, max_size, &mut entries);
        fetched.map_err(unavailable)?;
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.index {
            return Ok(self.truncated.term);
        }
        if index == self.snapshot.index {
            return Ok(self.snapshot.term);
        }
        if index < self.truncated.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        match self.engine.get_entry::<Entries>(GROUP, index).map_err(unavailable)? {
            Some(entry) => Ok(entry.term),
            None => Err(raft::Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let unavailable = || raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable);
        if request_index > self.snapshot.index {
            // The driver takes one soon; raft asks again.
            return Err(unavailable());
        }
        let (_, state) = self.snapshot_state().map_err(|error| {
            // raft takes any other error for a reason to panic; the next snapshot may be readable.
            tracing::error!(%error, cause = std::error::Error::source(&error).map(tracing::field::display), "the snapshot cannot be sent");
            unavailable()
        })?;
        let mut snapshot = Snapshot::default();
        snapshot.set_metadata(self.snapshot.clone());
        snapshot.set_data(state.into());
        Ok(snapshot)
    }
}
