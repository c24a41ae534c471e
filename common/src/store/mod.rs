//! The object store: everything durable but metadata.
//!
//! Objects are immutable; a [`Manifest`] with lengths and checksums is written last, and a reader
//! trusts only what a manifest names. A file store (`file:///…` or a plain path) writes a temporary
//! file, syncs it, renames it and syncs the folder; other stores are atomic by themselves.
//! [`LocalCache`] keeps verified copies on a worker's own disk so that they can be mapped.

mod cache;
mod error;
mod layout;
mod live;
mod manifest;
mod options;
mod path;
mod profile;
mod pulse;
mod remote;
mod roots;
#[cfg(test)]
mod tests;
mod upload;
mod watch;
mod writes;

use std::{
    fmt,
    io::{self, Write as _},
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
pub use cache::LocalCache;
pub use error::StoreError;
use error::{access, file, slow};
use futures::{StreamExt as _, TryStreamExt as _};
pub use layout::{
    PartKind, catalogue_part, census_part, checkpoint_path, dataset_path, genome_part, genome_tags_part,
    ids_part, lists_path, model_path, part, staging_path, tags_part,
};
pub use live::{LIVE_FILE, LiveVersions};
pub use manifest::{MANIFEST_FILE, METADATA_FILE, Manifest};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, local::LocalFileSystem, path::Path};
pub use options::StoreOptions;
pub use path::StorePath;
pub use profile::{Profile, says_who};
use pulse::Pulse;
pub use pulse::Silence;
pub use roots::{Access, NotARoot, Roots};
use shoal_core::hash::checksum_hex;
use shoal_proto::v1::ObjectEntry;
pub use watch::StoreWatch;
use writes::Writes;

use crate::private_files;

/// How long anything may take that is asked of a store, whatever the size of the object.
const ANSWER_MAX: Duration = Duration::from_secs(600);

/// One store, cheap to clone. Paths are relative to the address it was opened with.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    uri: String,
    /// Root folder of a file store.
    folder: Option<PathBuf>,
    /// Where every path has to lead in truth, for what others name.
    roots: Option<Arc<Roots>>,
    /// Nothing is written.
    is_read_only: bool,
    pulse: Pulse,
    writes: Writes,
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
    /// [`StoreError::Address`] when the address is of no known kind, or the folder cannot be made.
    pub fn open(uri: &str) -> Result<Self, StoreError> {
        Self::open_with(uri, &StoreOptions::default())
    }

    /// As [`Store::open`], with options for remote stores, at `s3://bucket/prefix`: `region`, `access_key_id`, `endpoint` and
    /// others, with `aws_` before the name or without. One that ends in `_file` names a file that holds its value.
    ///
    /// # Errors
    /// [`StoreError::Address`] when the address is of no known kind, or cannot be used.
    pub fn open_with(uri: &str, options: &StoreOptions) -> Result<Self, StoreError> {
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
    pub fn open_existing(uri: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        match uri.split_once("://") {
            None => Self::open_folder(uri, FilePath::new(uri), false),
            Some(("file", path)) => Self::open_folder(uri, FilePath::new(path), false),
            Some(_) => Self::open_remote(uri, options),
        }
    }

    /// As [`Store::open_existing`], for addresses that others name, all of which lie below `uri`: they have to lie within
    /// `roots`, and so has every file and folder that is read through the store, without symlinks.
    ///
    /// # Errors
    /// [`StoreError::Outside`], or as [`Store::open_existing`].
    pub fn open_within<'a>(
        uri: &str,
        addresses: impl IntoIterator<Item = &'a str>,
        options: &StoreOptions,
        roots: &Arc<Roots>,
    ) -> Result<Self, StoreError> {
        addresses.into_iter().try_for_each(|address| roots.check(address))?;
        Ok(Self { roots: Some(Arc::clone(roots)), ..Self::open_existing(uri, options)? })
    }

    /// As [`Store::open_with`], at an address that others name: it has to lie within `roots`, and a folder that is not
    /// there is made only if it does.
    ///
    /// # Errors
    /// [`StoreError::Outside`], or as [`Store::open_with`].
    pub fn create_within(uri: &str, options: &StoreOptions, roots: &Arc<Roots>) -> Result<Self, StoreError> {
        roots.check_new(uri)?;
        Ok(Self { roots: Some(Arc::clone(roots)), ..Self::open_with(uri, options)? })
    }

    /// Whether a path of a store within roots leads to where it seems to.
    fn check_within(&self, path: Option<&StorePath>) -> Result<(), StoreError> {
        let Some(roots) = &self.roots else { return Ok(()) };
        // As it was asked for: a refusal does not say where a link leads to.
        let named = path.map_or_else(|| self.uri.clone(), |path| join(&self.uri, path.as_str()));
        let Some(root) = &self.folder else { return roots.check_key(&named) };
        let file = path.map_or_else(|| root.clone(), |path| path.below(root));
        match file.canonicalize() {
            Ok(resolved) => roots.check_resolved(&resolved, &named),
            // What is not there leads nowhere; reading it says so.
            Err(_) => Ok(()),
        }
    }

    fn open_folder(uri: &str, folder: &FilePath, create: bool) -> Result<Self, StoreError> {
        let address_error = |reason: String| StoreError::Address { uri: uri.to_owned(), reason };
        if create {
            std::fs::create_dir_all(folder)
                .map_err(|e| address_error(format!("cannot create the folder: {e}")))?;
        }
        let folder = folder.canonicalize().map_err(|e| address_error(e.to_string()))?;
        if !folder.is_dir() {
            return Err(address_error("it is no folder".to_owned()));
        }
        let objects = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|e| address_error(e.to_string()))?
            .with_fsync(true);
        Ok(Self { folder: Some(folder), ..Self::of(Arc::new(objects), uri, Pulse::default()) })
    }

    fn of(objects: Arc<dyn ObjectStore>, uri: &str, pulse: Pulse) -> Self {
        Self {
            objects,
            uri: uri.to_owned(),
            folder: None,
            roots: None,
            is_read_only: false,
            pulse,
            writes: Writes::default(),
        }
    }

    /// The same store, of which nothing is written any more.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    fn open_remote(uri: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let pulse = Pulse::default();
        Ok(Self::of(remote::open(uri, options, &pulse)?, uri, pulse))
    }

    /// The silence of a store for which something is waiting.
    #[must_use]
    pub fn silence(&self) -> Option<Silence> {
        self.pulse.silence()
    }

    /// The address it was opened with.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether nothing is written to it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn check_writable(&self, path: &str) -> Result<(), StoreError> {
        if self.is_read_only { Err(StoreError::ReadOnly { path: path.to_owned() }) } else { Ok(()) }
    }

    /// Where an object or a folder is on this machine, for a file store; the root for an empty path.
    ///
    /// # Errors
    /// [`StoreError::Path`] when it is no path below the store.
    pub fn file_path(&self, path: &str) -> Result<Option<PathBuf>, StoreError> {
        let path = StorePath::parse_folder(path)?;
        let below =
            |folder: &PathBuf| path.as_ref().map_or_else(|| folder.clone(), |path| path.below(folder));
        Ok(self.folder.as_ref().map(below))
    }

    /// Writes an object durably and atomically: it is there whole, or not at all.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<ObjectEntry, StoreError> {
        let key = StorePath::parse(path)?.key();
        self.check_writable(path)?;
        let entry = ObjectEntry {
            path: path.to_owned(),
            length_bytes: bytes.len() as u64,
            checksum: checksum_hex(&bytes),
        };
        let written = async {
            match self.folder {
                None if upload::is_large(&bytes) => {
                    upload::in_parts(self.objects.as_ref(), &key, bytes).await
                }
                None => self.objects.put(&key, bytes.into()).await.map(drop),
                Some(_) => {
                    let objects = Arc::clone(&self.objects);
                    let put = async move { objects.put(&key, bytes.into()).await.map(drop) };
                    self.writes.through(path, put).await
                }
            }
        };
        self.in_time("write", path, written).await?;
        Ok(entry)
    }

    /// As [`Store::put`], but only where there is no such object yet; `None` when there is one. Of two writers
    /// one gets the entry.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Option<ObjectEntry>, StoreError> {
        let key = StorePath::parse(path)?.key();
        self.check_writable(path)?;
        let entry = ObjectEntry {
            path: path.to_owned(),
            length_bytes: bytes.len() as u64,
            checksum: checksum_hex(&bytes),
        };
        let objects = Arc::clone(&self.objects);
        let put = async move { objects.put_opts(&key, bytes.into(), PutMode::Create.into()).await };
        let written = async {
            let put = match self.folder {
                None => put.await,
                Some(_) => self.writes.through(path, put).await,
            };
            match put {
                Ok(_) => Ok(Some(entry)),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.in_time("write", path, written).await
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the store's failure.
    pub async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        self.get_if(path, |_| None).await
    }

    /// Reads a whole object that should be small: a longer one is refused before its bytes are read.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Damaged`] when it has more than `bytes_max` bytes, or the store's failure.
    pub async fn get_up_to(&self, path: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        self.get_if(path, |length| {
            (length > bytes_max)
                .then(|| format!("it has {length} bytes where at most {bytes_max} are expected"))
        })
        .await
    }

    /// Reads a whole object unless its length is wrong, which `refuses` says of it.
    async fn get_if(
        &self,
        path: &str,
        refuses: impl FnOnce(u64) -> Option<String>,
    ) -> Result<Bytes, StoreError> {
        let path = StorePath::parse(path)?;
        let mut refused = None;
        let read = self.read_in_time(&path, async {
            let result = self.objects.get(&path.key()).await?;
            refused = refuses(result.meta.size);
            if refused.is_some() { Ok(Bytes::new()) } else { result.bytes().await }
        });
        let read = read.await;
        match refused {
            Some(reason) => Err(StoreError::Damaged { path: path.as_str().to_owned(), reason }),
            None => read,
        }
    }

    /// Reads `range` of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the store's failure.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = StorePath::parse(path)?;
        self.read_in_time(&path, self.objects.get_range(&path.key(), range)).await
    }

    /// Reads, unless what is there is no regular file: a pipe or a device might never end.
    async fn read_in_time(
        &self,
        path: &StorePath,
        read: impl Future<Output = Result<Bytes, object_store::Error>>,
    ) -> Result<Bytes, StoreError> {
        self.check_within(Some(path))?;
        if let Some(root) = &self.folder {
            let file = path.below(root);
            let looked = async { Ok(tokio::fs::metadata(&file).await) };
            let is_odd = self
                .in_time("read", path.as_str(), looked)
                .await?
                .is_ok_and(|file| !file.is_file() && !file.is_dir());
            if is_odd {
                let source = io::Error::other("it is no regular file");
                return Err(StoreError::File { action: "read", path: file, source });
            }
        }
        self.in_time("read", path.as_str(), read).await
    }

    /// Reads an object and checks it against its manifest entry.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when length or checksum differ; nothing is read of an object of another length.
    pub async fn get_verified(&self, folder: &str, entry: &ObjectEntry) -> Result<Bytes, StoreError> {
        let path = join(folder, &entry.path);
        let bytes = self.get_if(&path, |length| another_length(length, entry)).await?;
        verify(&path, &bytes, entry)?;
        Ok(bytes)
    }

    /// What is asked of a store, unless it does not answer: then whoever waits hears of it in the end.
    async fn in_time<T>(
        &self,
        action: &'static str,
        path: &str,
        asked: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, StoreError> {
        let _waiting = self.pulse.ask(action, path);
        match tokio::time::timeout(ANSWER_MAX, asked).await {
            Ok(answer) => {
                if answer.is_ok() {
                    self.pulse.answered();
                }
                answer.map_err(|error| access(action, path, error))
            }
            Err(_) => Err(slow(action, path, ANSWER_MAX)),
        }
    }

    /// The key of a folder that may be listed; none for the root.
    fn prefix(&self, folder: &str) -> Result<Option<Path>, StoreError> {
        let folder = StorePath::parse_folder(folder)?;
        self.check_within(folder.as_ref())?;
        Ok(folder.map(|folder| folder.key()))
    }

    /// The objects below `folder`: paths relative to the store, and lengths in bytes, in path order.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let prefix = self.prefix(folder)?;
        let listed = self.objects.list(prefix.as_ref());
        let listed = listed.map_ok(|meta| (meta.location.to_string(), meta.size)).try_collect();
        let mut found: Vec<(String, u64)> = self.in_time("list", folder, listed).await?;
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
        let prefix = self.prefix(folder)?;
        let listed = self.in_time("list", folder, self.objects.list_with_delimiter(prefix.as_ref())).await?;
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
        let key = StorePath::parse(path)?.key();
        self.check_writable(path)?;
        let deleted = async {
            match self.objects.delete(&key).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                deleted => deleted,
            }
        };
        self.in_time("delete", path, deleted).await
    }

    /// Deletes every object below `folder`, which is not the root, also what this process is still writing there for nobody
    /// any more. Deleting what is not there is no error.
    ///
    /// # Errors
    /// [`StoreError::Path`], or the store's failure.
    pub async fn delete_folder(&self, folder: &str) -> Result<(), StoreError> {
        let prefix = StorePath::parse(folder)?;
        self.check_writable(folder)?;
        if let Some(root) = &self.folder {
            let written = tokio::time::timeout(ANSWER_MAX, self.writes.ended_below(prefix.as_str()));
            written.await.map_err(|_| slow("delete", folder, ANSWER_MAX))?;
            let path = prefix.below(root);
            return run_blocking("delete", path.clone(), move || match std::fs::remove_dir_all(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            })
            .await;
        }
        let paths = self.objects.list(Some(&prefix.key())).map_ok(|meta| meta.location).boxed();
        let deleted = self.objects.delete_stream(paths).try_for_each(|_| async { Ok(()) });
        self.in_time("delete", folder, deleted).await
    }

    /// Points `link` (a path in the store) at its neighbour `target` by a symlink that is replaced
    /// atomically. A no-op for stores without symlinks.
    ///
    /// # Errors
    /// [`StoreError::Path`], or when the file system refuses.
    pub async fn point_latest(&self, link: &str, target: &str) -> Result<(), StoreError> {
        let (link, target) = (StorePath::parse(link)?, StorePath::parse_name(target)?);
        self.check_writable(link.as_str())?;
        let Some(root) = &self.folder else { return Ok(()) };
        let (link, target) = (link.below(root), PathBuf::from(target.as_str()));
        run_blocking("link", link.clone(), move || replace_symlink(&link, &target)).await
    }
}

/// Whether a text is the checksum of an object, as [`checksum_hex`] writes it: 32 hexadecimal digits.
#[must_use]
pub fn is_checksum(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
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
    if let Some(reason) = another_length(bytes.len() as u64, entry) {
        return Err(damaged(reason));
    }
    let checksum = checksum_hex(bytes);
    if checksum != entry.checksum {
        return Err(damaged(format!("its checksum is {checksum}, the manifest says {}", entry.checksum)));
    }
    Ok(())
}

/// How an object of `length` bytes differs from its manifest entry.
fn another_length(length: u64, entry: &ObjectEntry) -> Option<String> {
    let expected = entry.length_bytes;
    (length != expected).then(|| format!("it has {length} bytes where the manifest says {expected}"))
}

async fn run_blocking<F>(action: &'static str, path: PathBuf, work: F) -> Result<(), StoreError>
where
    F: FnOnce() -> io::Result<()> + Send + 'static,
{
    // A file system that hangs keeps its thread, and nobody waits for it.
    let Ok(outcome) = tokio::time::timeout(ANSWER_MAX, tokio::task::spawn_blocking(work)).await else {
        return Err(slow(action, &path.display().to_string(), ANSWER_MAX));
    };
    let outcome = outcome.unwrap_or_else(|join_error| Err(io::Error::other(join_error)));
    outcome.map_err(|source| file(action, path, source))
}

/// Temporary file, fsync, rename, fsync of the folder: after this returns the file survives a crash. It is for its owner
/// alone.
///
/// # Errors
/// What the file system said; no half-written file is left under `path`.
pub fn write_durably(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| FilePath::new("."));
    private_files::create_folder(folder)?;
    let temporary = temporary_name(path);
    let written = (|| {
        let mut file = private_files::create(&temporary)?;
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
