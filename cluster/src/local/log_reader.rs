//! Reading the logs of a local cluster's nodes, as they are and as they grow. A log that is put aside and begun anew is
//! read to its end first.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Bytes at a log's end in which its last lines are looked for.
const TAIL_BYTES: u64 = 1024 * 1024;
/// Bytes that are read at once of a log that grows.
const PIECE_BYTES: u64 = 1024 * 1024;
/// The longest line that is waited for; a longer one is handed on in parts.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// One node's log.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    /// What was read of a line that has not ended yet.
    begun: Vec<u8>,
}

impl LogReader {
    /// Reads the log from its end on; its last lines, at most so many, come first.
    ///
    /// # Errors
    /// When a log that is there cannot be read.
    pub fn open(path: &Path, lines: usize) -> io::Result<(Self, Vec<String>)> {
        let mut reader = Self { path: path.to_owned(), file: None, begun: Vec::new() };
        reader.file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(file) = &mut reader.file else { return Ok((reader, Vec::new())) };
        let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        let mut last = reader.lines_of(&bytes);
        if from > 0 && !last.is_empty() {
            // The first one was cut.
            last.remove(0);
        }
        last.drain(..last.len().saturating_sub(lines));
        Ok((reader, last))
    }

    /// The whole lines that have come since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn news(&mut self) -> io::Result<Vec<String>> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            if file.stream_position()? > file.metadata()?.len() {
                // Somebody has emptied it.
                file.rewind()?;
            }
            file.take(PIECE_BYTES).read_to_end(&mut bytes)?;
        }
        // Only at the end of the old one is the new one begun.
        if bytes.is_empty() && !self.is_current()? {
            match File::open(&self.path) {
                Ok(mut file) => {
                    (&mut file).take(PIECE_BYTES).read_to_end(&mut bytes)?;
                    self.file = Some(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.lines_of(&bytes))
    }

    /// Whether what is open is what has the log's name.
    fn is_current(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let open = file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn lines_of(&mut self, bytes: &[u8]) -> Vec<String> {
        self.begun.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut rest = self.begun.as_slice();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            lines.push(String::from_utf8_lossy(&rest[..end]).into_owned());
            rest = &rest[end + 1..];
        }
        if rest.len() > LINE_BYTES_MAX {
            lines.push(String::from_utf8_lossy(rest).into_owned());
            rest = &[];
        }
        self.begun = rest.to_vec();
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn add(path: &Path, text: &str) {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_last_lines_come_first_and_then_what_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker-1.log");
        let (mut missing, none) = LogReader::open(&path, 3).unwrap();
        assert!(none.is_empty() && missing.news().unwrap().is_empty());
        add(&path, "a\nb\nc\nd");
        assert_eq!(missing.news().unwrap(), ["a", "b", "c"]);
        let (mut reader, last) = LogReader::open(&path, 2).unwrap();
        assert_eq!(last, ["b", "c"]);
        assert!(reader.news().unwrap().is_empty());
        add(&path, "e\nf\n");
        assert_eq!(reader.news().unwrap(), ["de", "f"]);
    }

    #[test]
    fn a_log_that_is_put_aside_is_read_to_its_end_and_then_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker-1.log");
        add(&path, "a\n");
        let (mut reader, _) = LogReader::open(&path, 0).unwrap();
        add(&path, "b\n");
        std::fs::rename(&path, folder.path().join("worker-1.log.1")).unwrap();
        add(&path, "c\n");
        let mut read = reader.news().unwrap();
        read.extend(reader.news().unwrap());
        assert_eq!(read, ["b", "c"]);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        assert!(reader.news().unwrap().is_empty());
        add(&path, "d\n");
        assert_eq!(reader.news().unwrap(), ["d"]);
    }
}
