//! Opening of files that can be mapped.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Opens a regular file for reading. A pipe would wait for a writer, and a device has no end: neither is opened.
///
/// # Errors
/// When it is no regular file, or cannot be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let odd = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
    if !fs::metadata(path)?.is_file() {
        return Err(odd());
    }
    let file = File::open(path)?;
    // Another may have taken its place meanwhile.
    if file.metadata()?.is_file() { Ok(file) } else { Err(odd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/null")] {
            assert!(open_regular(path).is_err(), "{path:?}");
        }
        let file = folder.path().join("file");
        fs::write(&file, b"x").unwrap();
        open_regular(&file).unwrap();
    }
}
