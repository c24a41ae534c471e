//! Logs that are put aside: at a start, and when one has grown.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Logs of before that are kept of each node: `worker-1.log.1` is the newest of them.
const KEPT: u32 = 3;

/// Bytes from which a log is put aside while its node runs.
pub const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Puts a log aside as `.log.1`, that one as `.log.2`, and so on; the oldest goes. Whoever has the log open goes on writing to
/// it. A log that is not there is none.
///
/// # Errors
/// When the folder cannot be written.
pub fn put_aside(log: &Path) -> io::Result<()> {
    let aside = |number: u32| -> PathBuf { log.with_extension(format!("log.{number}")) };
    for number in (1..KEPT).rev() {
        rename(&aside(number), &aside(number + 1))?;
    }
    rename(log, &aside(1))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_logs_are_kept_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("worker-1.log");
        put_aside(&log).unwrap();
        for text in ["a", "b", "c", "d", "e"] {
            std::fs::write(&log, text).unwrap();
            put_aside(&log).unwrap();
        }
        let kept = [1, 2, 3]
            .map(|number| std::fs::read_to_string(log.with_extension(format!("log.{number}"))).unwrap());
        assert_eq!(kept, ["e", "d", "c"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
