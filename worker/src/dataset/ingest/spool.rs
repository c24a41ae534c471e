//! Spool files: what has arrived for each owned shard, in no particular order, on the worker's own disk.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use shoal_proto::v1::{RecordKind, Side};

use super::IngestError;

/// Buffered before a write: with a few dozen open spools, tens of megabytes in all at most.
const BUFFER_BYTES: usize = 256 * 1024;

/// Which spool: a shard of a side, and the kind of records.
pub(super) type SpoolKey = (Side, u32, RecordKind);

/// The spools of one attempt. The folder is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Spools {
    folder: PathBuf,
    files: HashMap<SpoolKey, Mutex<BufWriter<File>>>,
}

impl Spools {
    /// Creates an empty spool for each key.
    pub(super) fn create(
        folder: PathBuf,
        keys: impl IntoIterator<Item = SpoolKey>,
    ) -> Result<Self, IngestError> {
        let failed =
            |path: &Path, source| IngestError::Spool { action: "create", path: path.to_owned(), source };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let mut files = HashMap::new();
        for key in keys {
            let path = path(&folder, key);
            let file = File::create(&path).map_err(|error| failed(&path, error))?;
            files.insert(key, Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, file)));
        }
        Ok(Self { folder, files })
    }

    /// Appends encoded records.
    pub(super) fn append(&self, key: SpoolKey, records: &[u8]) -> Result<(), IngestError> {
        let (side, shard, kind) = key;
        let file = self.files.get(&key).ok_or_else(|| {
            IngestError::Request(format!("shard {shard} of {side:?} ({kind:?}) is not owned here"))
        })?;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(records).map_err(|source| self.failed("write", key, source))
    }

    /// Everything appended so far.
    pub(super) fn read(&self, key: SpoolKey) -> Result<Vec<u8>, IngestError> {
        let Some(file) = self.files.get(&key) else { return Ok(Vec::new()) };
        let flushed = file.lock().unwrap_or_else(PoisonError::into_inner).flush();
        flushed.map_err(|source| self.failed("write", key, source))?;
        std::fs::read(path(&self.folder, key)).map_err(|source| self.failed("read", key, source))
    }

    fn failed(&self, action: &'static str, key: SpoolKey, source: std::io::Error) -> IngestError {
        IngestError::Spool { action, path: path(&self.folder, key), source }
    }
}

impl Drop for Spools {
    fn drop(&mut self) {
        // A leftover folder is emptied when the worker starts; there is nobody to tell here.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn path(folder: &Path, (side, shard, kind): SpoolKey) -> PathBuf {
    let side = if side == Side::Items { "items" } else { "users" };
    let kind = if kind == RecordKind::Movie { "movies" } else { "ratings" };
    folder.join(format!("{side}-{shard:05}-{kind}.spool"))
}
