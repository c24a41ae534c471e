//! What a member has on disk, looked at and tampered with while the member is away; and disks that fail or forget.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use raft::eraftpb::{Entry, HardState, SnapshotMetadata};
use raft_engine::{Config, Engine, LogBatch, MessageExt};

/// The names that the log store gives.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const SNAPSHOT: &[u8] = b"snapshot";

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// The log in a member's folder.
pub(crate) struct Disk(Engine);

impl Disk {
    pub(crate) fn open(folder: &Path) -> Self {
        let dir = folder.join("log").display().to_string();
        Self(Engine::open(Config { dir, ..Config::default() }).unwrap())
    }

    pub(crate) fn hard_state(&self) -> HardState {
        self.0.get_message(GROUP, HARD_STATE).unwrap().unwrap()
    }

    pub(crate) fn set_hard_state(&self, change: impl FnOnce(&mut HardState)) {
        let mut hard_state = self.hard_state();
        change(&mut hard_state);
        let mut batch = LogBatch::default();
        batch.put_message(GROUP, HARD_STATE.to_vec(), &hard_state).unwrap();
        self.0.write(&mut batch, true).unwrap();
    }

    pub(crate) fn forget(&self, key: &str) {
        let mut batch = LogBatch::default();
        batch.delete(GROUP, key.as_bytes().to_vec());
        self.0.write(&mut batch, true).unwrap();
    }

    /// Drops the first entries, but for those from `index` on.
    pub(crate) fn compact_to(&self, index: u64) {
        self.0.compact_to(GROUP, index);
        self.0.sync().unwrap();
    }

    pub(crate) fn snapshot(&self) -> SnapshotMetadata {
        self.0.get_message(GROUP, SNAPSHOT).unwrap().unwrap()
    }

    /// The indexes of the first and of the last entry.
    pub(crate) fn span(&self) -> (u64, u64) {
        (self.0.first_index(GROUP).unwrap(), self.0.last_index(GROUP).unwrap())
    }

    pub(crate) fn term_of(&self, index: u64) -> u64 {
        self.0.get_entry::<Entries>(GROUP, index).unwrap().unwrap().term
    }
}

/// The newest file of the log.
pub(crate) fn log_file(folder: &Path) -> PathBuf {
    log_files(folder).pop().unwrap()
}

/// Whether files of the log were done away with, of a member that has stopped.
pub(crate) fn is_shortened(folder: &Path) -> bool {
    !log_files(folder)[0].ends_with("0000000000000001.raftlog")
}

fn log_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("log")).unwrap().map(|file| file.unwrap().path());
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "raftlog");
    let mut files: Vec<PathBuf> = files.filter(is_log).collect();
    files.sort();
    files
}

/// The names of the snapshot files, oldest first.
pub(crate) fn snapshot_files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("snapshot-")).collect();
    names.sort();
    names
}

pub(crate) fn snapshot_file(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("snapshot-{index:020}.bin"))
}

/// A copy of a member's folder, with what is on its way to the disk.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("log")).unwrap();
    for folder in ["", "log"] {
        for file in fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), to.join(folder).join(file.file_name())).unwrap();
            }
        }
    }
}

/// A disk that has, after a loss of power, of each file of the log what was synced last.
#[derive(Debug, Default)]
pub(crate) struct ForgetfulDisk(Mutex<BTreeMap<PathBuf, Vec<u8>>>);

impl shoal_coordinator::raft::Disk for ForgetfulDisk {
    fn synced(&self, file: &Path) {
        self.0.lock().unwrap().insert(file.to_owned(), fs::read(file).unwrap());
    }
}

impl ForgetfulDisk {
    /// A copy of a member's folder, as its machine would find it after a loss of power.
    pub(crate) fn copy(&self, from: &Path, to: &Path) {
        copy(from, to);
        let synced = self.0.lock().unwrap();
        for file in log_files(from) {
            let kept = synced.get(&file).cloned().unwrap_or_default();
            fs::write(to.join("log").join(file.file_name().unwrap()), kept).unwrap();
        }
    }
}

/// A disk that takes nothing while it is told to.
#[derive(Debug, Default)]
pub(crate) struct FullDisk {
    is_full: AtomicBool,
    refused: AtomicUsize,
}

impl FullDisk {
    pub(crate) fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Writes that have failed.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

impl shoal_coordinator::raft::Disk for FullDisk {
    fn before_write(&self, _: &Path) -> io::Result<()> {
        if !self.is_full.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::other("the disk takes nothing, as the test wants it"))
    }
}
