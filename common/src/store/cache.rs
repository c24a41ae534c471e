//! Verified copies of objects on a node's own disk, named by checksum, ready to be mapped.
//!
//! The folder belongs to one process. A copy is checked in full when it is made; one found at
//! start-up is checked again before its first use, because a disk may have changed under it.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use shoal_proto::v1::ObjectEntry;

use crate::private_files;

use super::{Store, StoreError, is_checksum, join, run_blocking, verify, write_durably};

/// A folder of verified objects. Clones share it.
#[derive(Debug, Clone)]
pub struct LocalCache {
    place: Place,
    /// Checksums whose file this process has verified.
    verified: Arc<Mutex<HashSet<String>>>,
}

/// Where verified objects lie.
#[derive(Debug, Clone)]
enum Place {
    /// Copies in a folder.
    Folder(PathBuf),
    /// In the folder of the store itself.
    Store,
}

impl LocalCache {
    /// Copies nothing where the store is a folder of this machine: its objects are verified and used where they lie, which
    /// takes for granted that nobody changes an object. `None` for another store.
    #[must_use]
    pub fn in_place(store: &Store) -> Option<Self> {
        let is_folder = store.file_path("").is_ok_and(|folder| folder.is_some());
        is_folder.then(|| Self { place: Place::Store, verified: Arc::default() })
    }

    /// Uses `folder`, made when missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: PathBuf) -> Result<Self, StoreError> {
        private_files::create_folder(&folder).map_err(|source| StoreError::File {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        Ok(Self { place: Place::Folder(folder), verified: Arc::default() })
    }

    /// The file with the object's bytes, fetched and verified if it is not here yet.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the store's object is not what the manifest says; otherwise
    /// the store's or the disk's failure.
    pub async fn fetch(
        &self,
        store: &Store,
        folder: &str,
        entry: &ObjectEntry,
    ) -> Result<PathBuf, StoreError> {
        if !is_checksum(&entry.checksum) {
            return Err(StoreError::Damaged {
                path: join(folder, &entry.path),
                reason: "its manifest has no checksum of it".to_owned(),
            });
        }
        let copies = match &self.place {
            Place::Folder(copies) => copies,
            Place::Store => return self.verify_in_place(store, folder, entry).await,
        };
        let file = copies.join(&entry.checksum);
        // Only what this process has put here is read: links and pipes are none of it.
        let is_file = tokio::fs::symlink_metadata(&file).await.is_ok_and(|found| found.is_file());
        if self.is_verified(&entry.checksum) && is_file {
            return Ok(file);
        }
        if is_file
            && let Ok(bytes) = tokio::fs::read(&file).await
            && verify(&entry.path, &bytes, entry).is_ok()
        {
            self.mark_verified(&entry.checksum);
            return Ok(file);
        }
        let bytes = get_verified(store, folder, entry).await?;
        let target = file.clone();
        run_blocking("write", file.clone(), move || write_durably(&target, &bytes)).await?;
        self.mark_verified(&entry.checksum);
        Ok(file)
    }

    async fn verify_in_place(
        &self,
        store: &Store,
        folder: &str,
        entry: &ObjectEntry,
    ) -> Result<PathBuf, StoreError> {
        let path = join(folder, &entry.path);
        let file = store.file_path(&path)?.ok_or_else(|| StoreError::NotFound(path.clone()))?;
        let is_file = tokio::fs::metadata(&file).await.is_ok_and(|found| found.is_file());
        if !(self.is_verified(&entry.checksum) && is_file) {
            get_verified(store, folder, entry).await?;
            self.mark_verified(&entry.checksum);
        }
        Ok(file)
    }

    /// Removes every copy whose checksum is not in `wanted`. A file that is still mapped stays
    /// readable through its mapping.
    ///
    /// # Errors
    /// When the folder cannot be read or a file not removed.
    pub async fn retain(&self, wanted: HashSet<String>) -> Result<(), StoreError> {
        self.verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|checksum| wanted.contains(checksum));
        let Place::Folder(folder) = self.place.clone() else { return Ok(()) };
        run_blocking("clean", folder.clone(), move || {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if !wanted.contains(entry.file_name().to_string_lossy().as_ref()) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
        .await
    }

    fn is_verified(&self, checksum: &str) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(checksum)
    }

    fn mark_verified(&self, checksum: &str) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(checksum.to_owned());
    }
}

async fn get_verified(store: &Store, folder: &str, entry: &ObjectEntry) -> Result<Bytes, StoreError> {
    store.get_verified(folder, entry).await.map_err(|error| match error {
        StoreError::NotFound(_) => StoreError::NotFound(join(folder, &entry.path)),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_place_nothing_is_copied_and_damage_is_found_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let entry = store.put("m/a", Bytes::from_static(b"rows")).await.unwrap();
        let entry = ObjectEntry { path: "a".into(), ..entry };
        let cache = || LocalCache::in_place(&store).unwrap();
        let kept = cache();
        for _ in 0..2 {
            assert_eq!(
                kept.fetch(&store, "m", &entry).await.unwrap(),
                folder.path().canonicalize().unwrap().join("m/a")
            );
        }
        kept.retain(HashSet::new()).await.unwrap();
        std::fs::write(folder.path().join("m/a"), b"rowz").unwrap();
        for cache in [kept, cache()] {
            let error = cache.fetch(&store, "m", &entry).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        }
        std::fs::remove_file(folder.path().join("m/a")).unwrap();
        assert!(cache().fetch(&store, "m", &entry).await.unwrap_err().is_not_found());
        assert_eq!(store.list("").await.unwrap(), []);
    }

    /// A checksum names a file in the cache's folder. What is none, and what lies there but is no file, is not opened.
    #[tokio::test]
    async fn a_pipe_is_not_opened_whatever_the_checksum_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store").to_str().unwrap()).unwrap();
        let entry = store.put("m/a", Bytes::from_static(b"rows")).await.unwrap();
        let entry = ObjectEntry { path: "a".into(), ..entry };
        let cache_folder = folder.path().join("cache");
        let cache = LocalCache::open(cache_folder.clone()).unwrap();
        let pipes = [folder.path().join("pipe"), cache_folder.join(&entry.checksum)];
        for pipe in &pipes {
            assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
        }
        for checksum in [pipes[0].to_str().unwrap(), "../pipe", ""] {
            let hostile = ObjectEntry { checksum: checksum.to_owned(), ..entry.clone() };
            let error = cache.fetch(&store, "m", &hostile).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        }
        let file = cache.fetch(&store, "m", &entry).await.unwrap();
        assert_eq!(std::fs::read(file).unwrap(), b"rows");
    }

    #[tokio::test]
    async fn a_copy_damaged_between_runs_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store").to_str().unwrap()).unwrap();
        let entry = store.put("m/a", Bytes::from_static(b"rows")).await.unwrap();
        let entry = ObjectEntry { path: "a".into(), ..entry };
        let cache_folder = folder.path().join("cache");
        let file = LocalCache::open(cache_folder.clone()).unwrap().fetch(&store, "m", &entry).await.unwrap();
        std::fs::write(&file, b"rowz").unwrap();
        let restarted = LocalCache::open(cache_folder).unwrap();
        let again = restarted.fetch(&store, "m", &entry).await.unwrap();
        assert_eq!(std::fs::read(again).unwrap(), b"rows");
        restarted.retain(HashSet::new()).await.unwrap();
        assert!(!file.exists());
    }
}
