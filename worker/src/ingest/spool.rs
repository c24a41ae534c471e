//! The spool: what has arrived for the owned shards, in no particular order, in one file on the worker's
//! own disk. Every batch is written as it came; which batches are whose is remembered.
//!
//! One file for all shards: the number of shards costs neither open files nor buffers.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use shoal_common::private_files;
use shoal_proto::v1::{RecordKind, Side};

use crate::ingest::IngestError;

/// A shard of a side, and the kind of rows.
pub(super) type SpoolKey = (Side, u32, RecordKind);

/// The spool of one attempt. Its folder is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    end: AtomicU64,
    batches: HashMap<SpoolKey, Mutex<Vec<Extent>>>,
}

/// Where a batch is in the file.
#[derive(Debug, Clone, Copy)]
struct Extent {
    begin: u64,
    length: usize,
    rows: u64,
}

impl Spool {
    /// Creates an empty spool for these keys.
    pub(super) fn create(
        folder: PathBuf,
        keys: impl IntoIterator<Item = SpoolKey>,
    ) -> Result<Self, IngestError> {
        let failed =
            |path: &Path, source| IngestError::Spool { action: "create", path: path.to_owned(), source };
        private_files::create_folder(&folder).map_err(|error| failed(&folder, error))?;
        let path = folder.join("spool");
        let file = private_files::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|error| failed(&path, error))?;
        let batches = keys.into_iter().map(|key| (key, Mutex::default())).collect();
        Ok(Self { folder, path, file, end: AtomicU64::new(0), batches })
    }

    /// Where the attempt may keep other files of its own.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Rows of a key appended so far.
    pub(super) fn rows(&self, key: SpoolKey) -> u64 {
        let batches = self.batches.get(&key);
        let batches = batches.map(|batches| batches.lock().unwrap_or_else(PoisonError::into_inner));
        batches.map_or(0, |batches| batches.iter().map(|extent| extent.rows).sum())
    }

    /// Appends a batch of so many rows.
    pub(super) fn append(&self, key: SpoolKey, batch: &[u8], rows: u64) -> Result<(), IngestError> {
        let (side, shard, kind) = key;
        let batches = self.batches.get(&key).ok_or_else(|| {
            IngestError::Request(format!("shard {shard} of {side:?} ({kind:?}) is not owned here"))
        })?;
        let begin = self.end.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(batch, begin).map_err(|source| self.failed("write", source))?;
        // No row takes less than a byte, whatever a sender says.
        let extent = Extent { begin, length: batch.len(), rows: rows.min(batch.len() as u64) };
        batches.lock().unwrap_or_else(PoisonError::into_inner).push(extent);
        Ok(())
    }

    /// Hands every batch of a key appended so far to `on_batch`, one at a time.
    pub(super) fn read(
        &self,
        key: SpoolKey,
        mut on_batch: impl FnMut(&[u8]) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        let Some(batches) = self.batches.get(&key) else { return Ok(()) };
        let extents = batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut bytes = Vec::new();
        for Extent { begin, length, .. } in extents {
            bytes.resize(length, 0);
            self.file.read_exact_at(&mut bytes, begin).map_err(|source| self.failed("read", source))?;
            on_batch(&bytes)?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> IngestError {
        IngestError::Spool { action, path: self.path.clone(), source }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // A leftover folder is emptied when the worker starts; there is nobody to tell here.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_gets_its_own_batches_back() {
        let folder = tempfile::tempdir().unwrap();
        let keys = [0, 1].map(|shard| (Side::Users, shard, RecordKind::Rating));
        let spool = Spool::create(folder.path().join("attempt"), keys).unwrap();
        for (key, batch) in [(keys[0], "ab"), (keys[1], "c"), (keys[0], ""), (keys[0], "def")] {
            spool.append(key, batch.as_bytes(), batch.len() as u64).unwrap();
        }
        let read = |key| {
            let mut batches = Vec::new();
            let collect = |batch: &[u8]| {
                batches.push(String::from_utf8(batch.to_vec()).unwrap());
                Ok(())
            };
            spool.read(key, collect).map(|()| batches)
        };
        assert_eq!(read(keys[0]).unwrap(), ["ab", "", "def"]);
        assert_eq!(read(keys[1]).unwrap(), ["c"]);
        assert_eq!((spool.rows(keys[0]), spool.rows(keys[1])), (5, 1));
        let stranger = (Side::Items, 0, RecordKind::Rating);
        assert!(matches!(spool.append(stranger, b"x", 1), Err(IngestError::Request(_))));
        drop(spool);
        assert!(!folder.path().join("attempt").exists());
    }
}
