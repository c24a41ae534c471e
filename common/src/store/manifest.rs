//! The list of a folder's objects, written last: a folder without a manifest does not exist.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shoal_core::hash::checksum_hex;
use shoal_proto::v1::ObjectEntry;

use super::{Store, StoreError, StorePath, is_checksum, join};

/// The manifest's name in its folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The file for people and tools beside it: parameters, metrics, counts.
pub const METADATA_FILE: &str = "metadata.json";

const FORMAT_VERSION: u32 = 1;

/// Bytes of a manifest at most: several objects for each of 4,096 shards take 10 MB.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a folder of the store holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// "dataset", "model" or "checkpoint".
    pub kind: String,
    /// Every object, in path order, paths relative to the folder.
    pub objects: Vec<ObjectEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    format_version: u32,
    kind: String,
    objects: Vec<EntryFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    path: String,
    length_bytes: u64,
    checksum_xxh3_128: String,
}

impl Manifest {
    /// A manifest of these objects, put in path order.
    #[must_use]
    pub fn new(kind: &str, mut objects: Vec<ObjectEntry>) -> Self {
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Self { kind: kind.to_owned(), objects }
    }

    /// The entry of one object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the manifest does not name it.
    pub fn entry(&self, path: &str) -> Result<&ObjectEntry, StoreError> {
        self.objects
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .map(|at| &self.objects[at])
            .map_err(|_| StoreError::NotFound(path.to_owned()))
    }

    /// The bytes of the file: pretty JSON, the same for the same objects.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let file = ManifestFile {
            format_version: FORMAT_VERSION,
            kind: self.kind.clone(),
            objects: self
                .objects
                .iter()
                .map(|entry| EntryFile {
                    path: entry.path.clone(),
                    length_bytes: entry.length_bytes,
                    checksum_xxh3_128: entry.checksum.clone(),
                })
                .collect(),
        };
        let mut text = serde_json::to_vec_pretty(&file)
            // Strings and integers only: no map key or float that JSON cannot hold.
            .unwrap_or_default();
        text.push(b'\n');
        text.into()
    }

    /// Checksum of the file's bytes: what the registry remembers of a version.
    #[must_use]
    pub fn checksum(&self) -> String {
        checksum_hex(&self.to_bytes())
    }

    /// Writes the manifest of `folder`; from then on the folder exists for readers.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn write(&self, store: &Store, folder: &str) -> Result<String, StoreError> {
        let entry = store.put(&join(folder, MANIFEST_FILE), self.to_bytes()).await?;
        Ok(entry.checksum)
    }

    /// Reads the manifest of `folder`, checking it against `checksum` unless that is empty.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without one, [`StoreError::Damaged`] when it is not the expected one.
    pub async fn read(store: &Store, folder: &str, checksum: &str) -> Result<Self, StoreError> {
        let path = join(folder, MANIFEST_FILE);
        let bytes = store.get_up_to(&path, BYTES_MAX).await?;
        let damaged = |reason: String| StoreError::Damaged { path: path.clone(), reason };
        let found = checksum_hex(&bytes);
        if !checksum.is_empty() && checksum != found {
            return Err(damaged(format!("its checksum is {found}, the registry says {checksum}")));
        }
        Self::parse(&path, &bytes)
    }

    /// Reads the bytes of a manifest; `path` names it in errors.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when they are none, or of another format version, or name what is no object of a store.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
        let file: ManifestFile = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        if file.format_version != FORMAT_VERSION {
            return Err(damaged(format!(
                "format version {} is not {FORMAT_VERSION}: it was written by another release",
                file.format_version
            )));
        }
        let mut objects = Vec::with_capacity(file.objects.len());
        for entry in file.objects {
            let EntryFile { path, length_bytes, checksum_xxh3_128: checksum } = entry;
            StorePath::parse(&path).map_err(|error| damaged(error.to_string()))?;
            if !is_checksum(&checksum) {
                return Err(damaged(format!("the checksum of '{path}' is not 32 hexadecimal digits")));
            }
            objects.push(ObjectEntry { path, length_bytes, checksum });
        }
        Ok(Self::new(&file.kind, objects))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_back_and_refuses_another_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let object = store.put("m/z.bin", Bytes::from_static(b"z")).await.unwrap();
        let manifest = Manifest::new("model", vec![ObjectEntry { path: "z.bin".into(), ..object }]);
        let checksum = manifest.write(&store, "m").await.unwrap();
        assert_eq!(checksum, manifest.checksum());
        assert_eq!(Manifest::read(&store, "m", &checksum).await.unwrap(), manifest);
        assert!(Manifest::read(&store, "m", "0").await.is_err());
        for (path, checksum) in [
            ("z.bin", "/run/pipe"),
            ("z.bin", ""),
            ("z.bin", "00000000000000000000000000000000\n"),
            ("z.bin", "0000000000000000000000000000000G"),
            ("../z.bin", "00000000000000000000000000000000"),
            ("/etc/passwd", "00000000000000000000000000000000"),
        ] {
            let entry = ObjectEntry { path: path.to_owned(), length_bytes: 1, checksum: checksum.to_owned() };
            let file = Manifest::new("model", vec![entry]).to_bytes();
            let error = Manifest::parse("m/manifest.json", &file).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{path} {checksum}: {error}");
        }
        assert!(manifest.entry("a").unwrap_err().is_not_found());
    }
}
