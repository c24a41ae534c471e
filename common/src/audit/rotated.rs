//! A file of lines that is put aside when it is full.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use crate::private_files;

/// The newest lines are in `<path>`, older ones in `<path>.1`, `<path>.2` and so on; the oldest are deleted.
#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    file: File,
    length: u64,
    bytes_max: u64,
    files: u32,
}

impl RotatedFile {
    /// Goes on with the file, made when missing.
    pub(super) fn open(path: PathBuf, bytes_max: u64, files: u32) -> io::Result<Self> {
        let file = private_files::append(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file, length, bytes_max, files })
    }

    /// Adds a line as a whole.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let is_full = self.length > 0 && self.length + line.len() as u64 > self.bytes_max;
        if is_full {
            self.rotate()?;
        } else if self.is_gone() {
            // Somebody has put it aside or deleted it: what is written there would be lost.
            self.reopen()?;
        }
        self.file.write_all(line)?;
        self.length += line.len() as u64;
        Ok(())
    }

    fn is_gone(&self) -> bool {
        let own = self.file.metadata().map(|file| (file.dev(), file.ino())).ok();
        fs::metadata(&self.path).map(|file| (file.dev(), file.ino())).ok() != own
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = private_files::append(&self.path)?;
        self.length = self.file.metadata()?.len();
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        // The one in use counts too.
        let oldest = self.files.saturating_sub(1);
        if oldest == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..oldest).rev() {
                match fs::rename(numbered(number), numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, numbered(1))?;
        }
        self.reopen()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_newest_lines_are_kept_in_so_many_files_for_their_owner() {
        for files in [1, 2, 3] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("audit.log");
            let mut log = RotatedFile::open(path.clone(), 25, files).unwrap();
            for number in 0..20 {
                log.write(format!("line {number:04}\n").as_bytes()).unwrap();
            }
            let mut names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            assert_eq!(names.len(), files as usize);
            for name in &names {
                let file = fs::metadata(name).unwrap();
                assert!(file.len() <= 25 && file.permissions().mode() & 0o777 == 0o600, "{name:?}");
            }
            // Two lines fit into a file, and the newest are in it; those before are in the next.
            let first = names.iter().rev().map(|name| fs::read_to_string(name).unwrap()).collect::<String>();
            let expected: String = (20 - 2 * files..20).map(|number| format!("line {number:04}\n")).collect();
            assert_eq!(first, expected);
        }
    }

    #[test]
    fn a_start_goes_on_with_the_file_and_one_that_was_taken_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        RotatedFile::open(path.clone(), 25, 2).unwrap().write(b"of before\n").unwrap();
        let mut log = RotatedFile::open(path.clone(), 25, 2).unwrap();
        log.write(b"of now\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "of before\nof now\n");
        // 17 bytes are there: the next line does not fit.
        log.write(b"a longer line\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a longer line\n");
        fs::rename(&path, folder.path().join("taken")).unwrap();
        log.write(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
    }
}
