//! What a member has on disk: entries, hard state and positions in one log with one fsync a turn;
//! the state of the last snapshot in a file of its own.
//!
//! The log names the snapshot file that counts; the file is written and synced first. A crash
//! between the two leaves an unused file, which the next start removes.

use std::{
    io,
    path::{Path, PathBuf},
};

use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata},
};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize};
use shoal_common::store::write_durably;

/// The engine can hold many groups; a coordinator has one.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const SNAPSHOT: &[u8] = b"snapshot";
const TRUNCATED: &[u8] = b"truncated";

/// Entries kept behind a snapshot, so that a member that lags a little needs no snapshot.
const TAIL_ENTRIES: u64 = 256;

/// The log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreError {
    /// The engine failed.
    #[error("cannot {action} the raft log in '{folder}'")]
    Engine {
        /// "open", "write", …
        action: &'static str,
        /// The log's folder.
        folder: PathBuf,
        /// The engine's own error.
        source: raft_engine::Error,
    },
    /// A snapshot file failed.
    #[error("cannot {action} the raft snapshot '{path}'")]
    SnapshotFile {
        /// "read", "write", …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk contradicts itself.
    #[error(
        "the raft log in '{folder}' is not whole: {reason}; stop this member, move the folder away and restore it from a copy, or rebuild the member from the others"
    )]
    Mismatch {
        /// The log's folder.
        folder: PathBuf,
        /// The contradiction.
        reason: String,
    },
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
    engine: Engine,
    folder: PathBuf,
    hard_state: HardState,
    snapshot: SnapshotMetadata,
    /// The last entry that is no longer there.
    truncated: Position,
    last_index: u64,
}

impl LogStore {
    /// Opens the log, or founds it: a synthetic snapshot at index 1, term 1 with all `voters` and the state
    /// `initial`, the same on every member.
    pub(super) fn open(folder: &Path, voters: Vec<u64>, initial: &[u8]) -> Result<Self, LogStoreError> {
        let config = Config {
            dir: folder.join("log").display().to_string(),
            target_file_size: ReadableSize::mb(16),
            purge_threshold: ReadableSize::mb(64),
            ..Config::default()
        };
        let engine_error =
            |action, source| LogStoreError::Engine { action, folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|source| LogStoreError::SnapshotFile {
            action: "create the folder of",
            path: folder.to_owned(),
            source,
        })?;
        let engine = Engine::open(config).map_err(|error| engine_error("open", error))?;
        let mut store = Self {
            engine,
            folder: folder.to_owned(),
            hard_state: HardState::default(),
            snapshot: SnapshotMetadata::default(),
            truncated: Position::default(),
            last_index: 0,
        };
        if store.message::<SnapshotMetadata>(SNAPSHOT)?.is_none() {
            store.found(voters, initial)?;
        }
        store.load()?;
        store.remove_unused_snapshots();
        Ok(store)
    }

    fn found(&mut self, voters: Vec<u64>, initial: &[u8]) -> Result<(), LogStoreError> {
        let founding = Position { index: 1, term: 1 };
        let mut conf_state = ConfState::default();
        conf_state.set_voters(voters);
        let mut metadata =
            SnapshotMetadata { index: founding.index, term: founding.term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(conf_state);
        let hard_state = HardState { term: founding.term, commit: founding.index, ..HardState::default() };
        self.write_snapshot_file(founding.index, initial)?;
        let mut batch = LogBatch::default();
        self.put(&mut batch, HARD_STATE, &hard_state)?;
        self.put(&mut batch, SNAPSHOT, &metadata)?;
        self.put_truncated(&mut batch, founding)?;
        self.write(&mut batch)
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
        if self.hard_state.commit > self.last_index {
            return Err(self.mismatch(format!(
                "{} entries are committed but the log ends at {}",
                self.hard_state.commit, self.last_index
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
        batch.add_command(GROUP, Command::Clean);
        self.put(&mut batch, HARD_STATE, hard_state)?;
        self.put(&mut batch, SNAPSHOT, metadata)?;
        self.put_truncated(&mut batch, position)?;
        self.write(&mut batch)?;
        self.hard_state = hard_state.clone();
        self.snapshot = metadata.clone();
        self.truncated = position;
        self.last_index = metadata.index;
        self.remove_unused_snapshots();
        Ok(())
    }

    /// Keeps `state`, which is that after the entry at `applied`, and drops the entries before it but for a tail.
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
        let mut batch = LogBatch::default();
        self.put(&mut batch, SNAPSHOT, &metadata)?;
        self.put_truncated(&mut batch, truncated)?;
        batch.add_command(GROUP, Command::Compact { index: truncate_to + 1 });
        self.write(&mut batch)?;
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
        if request_index > self.snapshot.index {
            // The driver takes one soon; raft asks again.
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let (_, state) = self.snapshot_state().map_err(unavailable)?;
        let mut snapshot = Snapshot::default();
        snapshot.set_metadata(self.snapshot.clone());
        snapshot.set_data(state.into());
        Ok(snapshot)
    }
}
