//! What the engine below the log believes of its files without a checksum, looked at before it opens them.

use std::{
    io::{self, Read as _},
    path::Path,
};

use super::log_error::LogStoreError;

/// Bytes at the beginning of each file of the log: the engine's magic text, a version and an alignment, big-endian.
const MAGIC_BYTES: usize = 53;
const HEADER_BYTES: usize = MAGIC_BYTES + 2 * size_of::<u64>();
/// The largest alignment of records that is believed; this engine is told to use none.
const ALIGNMENT_MAX: u64 = 1 << 20;

/// Refuses a log whose files name an alignment that cannot be: the engine believes it, and would end the process by
/// asking for as much memory.
pub(super) fn check_alignments(folder: &Path) -> Result<(), LogStoreError> {
    let failed =
        |path: &Path, source| LogStoreError::SnapshotFile { action: "read", path: path.to_owned(), source };
    let log = folder.join("log");
    let entries = match std::fs::read_dir(&log) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&log, error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| failed(&log, error))?.path();
        let mut header = Vec::with_capacity(HEADER_BYTES);
        let file = std::fs::File::open(&path).map_err(|error| failed(&path, error))?;
        file.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(|error| failed(&path, error))?;
        let number = |at: usize| header.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let (version, alignment) = (number(MAGIC_BYTES), number(MAGIC_BYTES + size_of::<u64>()));
        // Only the second version of the format has an alignment; before, records begin there.
        if version == Some(2) && alignment.is_some_and(|alignment| alignment > ALIGNMENT_MAX) {
            let reason = format!("the beginning of '{}' is damaged", path.display());
            return Err(LogStoreError::Mismatch { folder: folder.to_owned(), reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alignment_that_cannot_be_is_refused_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        check_alignments(folder.path()).unwrap();
        super::super::open_log(folder.path(), "test", b"state").unwrap();
        check_alignments(folder.path()).unwrap();
        let file = folder.path().join("log/0000000000000001.raftlog");
        let mut bytes = std::fs::read(&file).unwrap();
        assert!(bytes.starts_with(b"RAFT-LOG-FILE-HEADER"));
        bytes[MAGIC_BYTES + size_of::<u64>() + 1] = 1;
        std::fs::write(&file, bytes).unwrap();
        let refusal = super::super::open_log(folder.path(), "test", b"state").unwrap_err().to_string();
        assert!(refusal.contains("0000000000000001.raftlog") && refusal.contains("damaged"), "{refusal}");
    }
}
