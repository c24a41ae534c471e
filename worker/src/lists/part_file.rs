//! A file of this worker's as bytes for the store, without a copy in memory.

use std::{io, path::Path};

use bytes::Bytes;
use shoal_format::{mapped_file::MappedFile, regular_file::open_regular};

/// The file's bytes, mapped. Nobody may write the file as long as they are used.
///
/// # Errors
/// When the file cannot be opened or mapped.
pub(super) fn mapped(path: &Path) -> io::Result<Bytes> {
    let file = open_regular(path)?;
    // There is nothing to map of an empty file.
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // A part lies in a folder of this process alone, or was put into a folder of lists whole and is not changed there; it is
    // written to its end before it is mapped, and removed, never cut, afterwards.
    Ok(Bytes::from_owner(MappedFile::open(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_bytes_of_the_file_also_when_there_are_none() {
        let folder = tempfile::tempdir().unwrap();
        for content in [&b""[..], b"1,2,3\n"] {
            let path = folder.path().join("part");
            std::fs::write(&path, content).unwrap();
            assert_eq!(mapped(&path).unwrap(), content);
        }
        assert!(mapped(&folder.path().join("none")).is_err());
    }
}
