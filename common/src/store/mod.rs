//! The object store: everything durable but metadata.
//!
//! Objects are immutable; a [`Manifest`] with lengths and checksums is written last, and a reader
//! trusts only what a manifest names. A file store (`file:///…` or a plain path) writes a temporary
//! file, syncs it, renames it and syncs the folder; other stores are atomic by themselves.
//! [`LocalCache`] keeps verified copies on a worker's own disk so that they can be mapped.

mod cache;
mod layout;
mod manifest;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
pub use cache::LocalCache;
use futures::{StreamExt as _, TryStreamExt as _};
pub use layout::{
    PartKind, catalogue_part, census_part, checkpoint_path, dataset_path, genome_part, genome_tags_part,
    ids_part, lists_path, model_path, part, staging_path, tags_part,
};
pub use manifest::{MANIFEST_FILE, METADATA_FILE, Manifest};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, local::LocalFileSystem, path::Path};
use shoal_core::hash::checksum_hex;
use shoal_proto::v1::ObjectEntry;

/// What can go wrong between Shoal and its store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store's address cannot be used.
    #[error("cannot use the store '{uri}': {reason}")]
    Address {
        /// The address as it was configured.
        uri: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// There is no such object.
    #[error("the store has no object '{0}'")]
    NotFound(String),
    /// The object is not what its manifest says.
    #[error("object '{path}' is damaged: {reason}; restore it from a copy or write it anew")]
    Damaged {
        /// Path of the object below the store's root.
        path: String,
        /// How it differs.
        reason: String,
    },
    /// The store refused or failed.
    #[error("cannot {action} '{path}'")]
    Access {
        /// "read", "write", …
        action: &'static str,
        /// Path of the object below the store's root.
        path: String,
        /// The store's own error.
        source: object_store::Error,
    },
    /// The file system refused or failed (a full disk, a missing right).
    #[error("cannot {action} '{path}'")]
    File {
        /// "write", "sync", …
        action: &'static str,
        /// Path of the file on this machine.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether this is the answer "there is no such object".
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// One store, cheap to clone. Paths are relative to the address it was opened with.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    uri: String,
    /// Root folder of a file store.
    folder: Option<PathBuf>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store: a plain path or `file:///…` (the folder is made when missing).
    ///
    /// # Errors
    /// [`StoreError::Address`] when the address is of a kind this build lacks, or the folder cannot be made.
    pub fn open(uri: &str) -> Result<Self, StoreError> {
        Self::open_with(uri, &BTreeMap::new())
    }

    /// As [`Store::open`], with options for remote stores: for `s3://bucket/prefix` (cargo feature
    /// `s3`) the keys of `object_store`'s S3 configuration, such as `aws_region`,
    /// `aws_access_key_id`, `aws_endpoint`.
    ///
    /// # Errors
    /// [`StoreError::Address`] when the address is of a kind this build lacks, or cannot be used.
    pub fn open_with(uri: &str, options: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        match uri.split_once("://") {
            None => Self::open_folder(uri, FilePath::new(uri), true),
            Some(("file", path)) => Self::open_folder(uri, FilePath::new(path), true),
            Some(_) => Self::open_remote(uri, options),
        }
    }

    /// Opens what must already be there, such as the folder of files to import: nothing is made.
    ///
    /// # Errors
    /// [`StoreError::Address`] when there is no such folder or the address cannot be used.
    pub fn open_existing(uri: &str, options: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        match uri.split_once("://") {
            None => Self::open_folder(uri, FilePath::new(uri), false),
            Some(("file", path)) => Self::open_folder(uri, FilePath::new(path), false),
            Some(_) => Self::open_remote(uri, options),
        }
    }

    fn open_folder(uri: &str, folder: &FilePath, create: bool) -> Result<Self, StoreError> {
        let address_error = |reason: String| StoreError::Address { uri: uri.to_owned(), reason };
        if create {
            std::fs::create_dir_all(folder)
                .map_err(|e| address_error(format!("cannot create the folder: {e}")))?;
        }
        let folder = folder.canonicalize().map_err(|e| address_error(e.to_string()))?;
        let objects = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|e| address_error(e.to_string()))?
            .with_fsync(true);
        Ok(Self { objects: Arc::new(objects), uri: uri.to_owned(), folder: Some(folder) })
    }

    #[cfg(feature = "s3")]
    fn open_remote(uri: &str, options: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let address_error = |reason: String| StoreError::Address { uri: uri.to_owned(), reason };
        let url = url::Url::parse(uri).map_err(|e| address_error(e.to_string()))?;
        let (objects, prefix) =
            object_store::parse_url_opts(&url, options).map_err(|e| address_error(e.to_string()))?;
        let objects = object_store::prefix::PrefixStore::new(objects, prefix);
        Ok(Self { objects: Arc::new(objects), uri: uri.to_owned(), folder: None })
    }

    #[cfg(not(feature = "s3"))]
    fn open_remote(uri: &str, _options: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let scheme = uri.split_once("://").map_or(uri, |(scheme, _)| scheme);
        let remedy = if scheme == "s3" { "build it with `--features s3`, or use" } else { "use" };
        Err(StoreError::Address {
            uri: uri.to_owned(),
            reason: format!("'{scheme}://' is not supported by this build; {remedy} a path or file:///…"),
        })
    }

    /// The address it was opened with.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Where an object is as a file, for a file store.
    #[must_use]
    pub fn file_path(&self, path: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(path))
    }

    /// Writes an object durably and atomically: it is there whole, or not at all.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<ObjectEntry, StoreError> {
        let entry = ObjectEntry {
            path: path.to_owned(),
            length_bytes: bytes.len() as u64,
            checksum: checksum_hex(&bytes),
        };
        self.objects.put(&Path::from(path), bytes.into()).await.map_err(|e| access("write", path, e))?;
        Ok(entry)
    }

    /// As [`Store::put`], but only where there is no such object yet; `None` when there is one. Of two writers
    /// one gets the entry.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Option<ObjectEntry>, StoreError> {
        let entry = ObjectEntry {
            path: path.to_owned(),
            length_bytes: bytes.len() as u64,
            checksum: checksum_hex(&bytes),
        };
        match self.objects.put_opts(&Path::from(path), bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Some(entry)),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(access("write", path, error)),
        }
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the store's failure.
    pub async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        let result = self.objects.get(&Path::from(path)).await.map_err(|e| access("read", path, e))?;
        result.bytes().await.map_err(|e| access("read", path, e))
    }

    /// Reads `range` of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the store's failure.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        // A listed name is taken as it is: people call their files what they like.
        let location = Path::parse(path).unwrap_or_else(|_| Path::from(path));
        self.objects.get_range(&location, range).await.map_err(|e| access("read", path, e))
    }

    /// Reads an object and checks it against its manifest entry.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when length or checksum differ.
    pub async fn get_verified(&self, folder: &str, entry: &ObjectEntry) -> Result<Bytes, StoreError> {
        let path = join(folder, &entry.path);
        let bytes = self.get(&path).await?;
        verify(&path, &bytes, entry)?;
        Ok(bytes)
    }

    /// The objects below `folder`: paths relative to the store, and lengths in bytes, in path order.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let mut found: Vec<(String, u64)> = self
            .objects
            .list(Some(&Path::from(folder)))
            .map_ok(|meta| (meta.location.to_string(), meta.size))
            .try_collect()
            .await
            .map_err(|e| access("list", folder, e))?;
        found.sort();
        Ok(found)
    }

    /// As [`Store::list`], but for what lies in `folder` itself and not further down.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list_folder(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(self.list_entries(folder).await?.0)
    }

    /// As [`Store::list_folder`], and the paths of the folders that lie in `folder`, in path order.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list_entries(&self, folder: &str) -> Result<(Vec<(String, u64)>, Vec<String>), StoreError> {
        // A listed name is taken as it is: people call their folders what they like.
        let location = Path::parse(folder).unwrap_or_else(|_| Path::from(folder));
        let listed = self.objects.list_with_delimiter(Some(&location)).await;
        let listed = listed.map_err(|e| access("list", folder, e))?;
        let mut files: Vec<(String, u64)> =
            listed.objects.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect();
        let mut folders: Vec<String> =
            listed.common_prefixes.into_iter().map(|prefix| prefix.to_string()).collect();
        files.sort();
        folders.sort();
        Ok((files, folders))
    }

    /// Deletes an object. Deleting what is not there is no error.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.objects.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(access("delete", path, error)),
        }
    }

    /// Deletes every object below `folder`. Deleting what is not there is no error.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete_folder(&self, folder: &str) -> Result<(), StoreError> {
        if let Some(path) = self.file_path(folder) {
            return run_blocking("delete", path.clone(), move || match std::fs::remove_dir_all(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            })
            .await;
        }
        let paths = self.objects.list(Some(&Path::from(folder))).map_ok(|meta| meta.location).boxed();
        self.objects
            .delete_stream(paths)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|e| access("delete", folder, e))
    }

    /// Points `link` (a path in the store) at its neighbour `target` by a symlink that is replaced
    /// atomically. A no-op for stores without symlinks.
    ///
    /// # Errors
    /// When the file system refuses.
    pub async fn point_latest(&self, link: &str, target: &str) -> Result<(), StoreError> {
        let Some(link) = self.file_path(link) else { return Ok(()) };
        let target = PathBuf::from(target);
        run_blocking("link", link.clone(), move || replace_symlink(&link, &target)).await
    }
}

/// `folder/name`, without a leading slash when the folder is empty.
#[must_use]
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Checks an object's bytes against its manifest entry; `path` names it in the error.
///
/// # Errors
/// [`StoreError::Damaged`] when length or checksum differ.
pub fn verify(path: &str, bytes: &[u8], entry: &ObjectEntry) -> Result<(), StoreError> {
    let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
    if bytes.len() as u64 != entry.length_bytes {
        return Err(damaged(format!(
            "it has {} bytes where the manifest says {}",
            bytes.len(),
            entry.length_bytes
        )));
    }
    let checksum = checksum_hex(bytes);
    if checksum != entry.checksum {
        return Err(damaged(format!("its checksum is {checksum}, the manifest says {}", entry.checksum)));
    }
    Ok(())
}

fn access(action: &'static str, path: &str, source: object_store::Error) -> StoreError {
    match source {
        object_store::Error::NotFound { .. } => StoreError::NotFound(path.to_owned()),
        source => StoreError::Access { action, path: path.to_owned(), source },
    }
}

async fn run_blocking<F>(action: &'static str, path: PathBuf, work: F) -> Result<(), StoreError>
where
    F: FnOnce() -> io::Result<()> + Send + 'static,
{
    let outcome = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|join_error| Err(io::Error::other(join_error)));
    outcome.map_err(|source| StoreError::File { action, path, source })
}

/// Temporary file, fsync, rename, fsync of the folder: after this returns the file survives a crash.
///
/// # Errors
/// What the file system said; no half-written file is left under `path`.
pub fn write_durably(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| FilePath::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = temporary_name(path);
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // The write's own error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn replace_symlink(link: &FilePath, target: &FilePath) -> io::Result<()> {
    let temporary = temporary_name(link);
    std::os::unix::fs::symlink(target, &temporary)?;
    std::fs::rename(&temporary, link)
}

/// A neighbour of `path` that no other writer of this or another process uses.
fn temporary_name(path: &FilePath) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = format!(".tmp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(unique);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_is_got_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let entry = store.put("a/b.bin", Bytes::from_static(b"factors")).await.unwrap();
        let entry = ObjectEntry { path: "b.bin".into(), ..entry };
        assert_eq!(store.get_verified("a", &entry).await.unwrap(), "factors");

        std::fs::write(folder.path().join("a/b.bin"), b"factorz").unwrap();
        let error = store.get_verified("a", &entry).await.unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        assert!(store.get("a/none").await.unwrap_err().is_not_found());
    }

    #[tokio::test]
    async fn of_two_writers_of_a_new_object_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let (first, second) = tokio::join!(
            store.put_new("a/claim", Bytes::from_static(b"first")),
            store.put_new("a/claim", Bytes::from_static(b"second"))
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(first.is_some() != second.is_some());
        let kept = if first.is_some() { "first" } else { "second" };
        assert_eq!(store.get("a/claim").await.unwrap(), kept);
    }

    #[tokio::test]
    async fn deleting_a_folder_twice_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        store.put("x/1", Bytes::from_static(b"1")).await.unwrap();
        store.delete_folder("x").await.unwrap();
        store.delete_folder("x").await.unwrap();
        assert!(store.list("x").await.unwrap().is_empty());
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_the_remedy() {
        let error = Store::open("ftp://somewhere").unwrap_err();
        assert!(error.to_string().contains("file:///"), "{error}");
    }
}
