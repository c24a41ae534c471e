//! One process per folder: a lock that the system takes back when its holder ends, however it ends. A local cluster
//! holds that of its folder, and each node that of its own.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
    time::Duration,
};

use shoal_common::private_files;
use tokio::time::Instant;

use super::LocalError;

/// How often a folder that is held is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Held as long as the value lives.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the folder, made when missing.
    ///
    /// # Errors
    /// [`LocalError::Locked`] with the holder's process id when it is taken.
    pub fn take(dir: &Path) -> Result<Self, LocalError> {
        std::fs::create_dir_all(dir).map_err(LocalError::file("create", dir))?;
        let path = dir.join("lock");
        let mut file = private_files::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(LocalError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Without its content the holder is merely unnamed.
                let _ = file.read_to_string(&mut pid);
                let pid = pid.trim();
                let pid = if pid.is_empty() { "unknown" } else { pid }.to_owned();
                return Err(LocalError::Locked { dir: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => {
                return Err(LocalError::File { action: "lock", path, source });
            }
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(LocalError::file("write", &path))?;
        Ok(Self { file })
    }

    /// As [`FolderLock::take`], but waits for a holder that is leaving. `on_wait` is called once, before the wait.
    ///
    /// # Errors
    /// As [`FolderLock::take`], after `patience`.
    pub async fn wait(dir: &Path, patience: Duration, on_wait: impl FnOnce()) -> Result<Self, LocalError> {
        let give_up_at = Instant::now() + patience;
        let mut on_wait = Some(on_wait);
        loop {
            match Self::take(dir) {
                Err(LocalError::Locked { .. }) if Instant::now() < give_up_at => {
                    if let Some(on_wait) = on_wait.take() {
                        on_wait();
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                taken => return taken,
            }
        }
    }

    /// Keeps the folder until this process ends.
    pub fn keep(self) {
        std::mem::forget(self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let refusal = FolderLock::take(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
        drop(held);
        FolderLock::take(folder.path()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_is_leaving_is_waited_for_and_one_that_stays_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let mut waits = 0;
        let refused = FolderLock::wait(folder.path(), Duration::from_secs(3), || waits += 1).await;
        assert!(matches!(refused, Err(LocalError::Locked { .. })) && waits == 1);
        // The wait has begun when it says so.
        let mut held = Some(held);
        FolderLock::wait(folder.path(), Duration::from_secs(3), || drop(held.take())).await.unwrap();
    }
}
