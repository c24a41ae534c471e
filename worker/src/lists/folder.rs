//! The folder that lists are written to, and whose it is.
//!
//! ```text
//! _job.json              which job writes here: first
//! part-00003.parquet     the users of a user shard, whole or not there
//! _lists.json            what is listed, in counts
//! _manifest.json         lengths and checksums of all that: last
//! ```
//!
//! Names that begin with an underscore are no data to Spark, pyarrow and their like, so the folder can be read as a table.
//! A job takes a folder that holds nothing, or what an earlier attempt of the same job has left there.

use std::{collections::HashSet, ffi::OsStr, io, path::PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};
use shoal_common::store::{Manifest, Store, StoreError, join, lists_path, verify};
use shoal_proto::v1::{ListsInfo, ListsParameters, ListsPart, ObjectEntry};

use super::{context::ListsContext, error::ListsError, part_file::mapped, rows::extension};

const JOB_FILE: &str = "_job.json";
const ABOUT_FILE: &str = "_lists.json";
const MANIFEST_FILE: &str = "_manifest.json";

/// The job that a folder belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    cluster_id: String,
    job: String,
    /// Ids of jobs begin anew with a new cluster; times do not.
    created_unix_ms: i64,
}

impl Owner {
    pub(super) fn new(cluster_id: &str, job: &str, created_unix_ms: i64) -> Self {
        Self { cluster_id: cluster_id.to_owned(), job: job.to_owned(), created_unix_ms }
    }

    fn to_json(&self) -> Value {
        json!({"cluster_id": self.cluster_id, "job_id": self.job, "created_unix_ms": self.created_unix_ms})
    }

    /// Whether a `_job.json` is this job's.
    fn wrote(&self, file: &[u8]) -> bool {
        let owner = serde_json::from_slice::<Value>(file).map(|mut file| file["job"].take());
        owner.is_ok_and(|owner| owner == self.to_json())
    }
}

/// The folder that a job writes its lists to.
#[derive(Debug)]
pub(super) struct ListsFolder {
    store: Store,
    path: String,
    /// As people name it.
    uri: String,
    owner: Owner,
    extension: &'static str,
}

impl ListsFolder {
    /// Opens the folder that was named, else the job's own in the store.
    pub(super) fn open(
        context: &ListsContext,
        parameters: &ListsParameters,
        owner: Owner,
    ) -> Result<Self, ListsError> {
        let extension = extension(parameters.format());
        if parameters.out_uri.is_empty() {
            let path = lists_path(&context.job_id);
            let uri = join(context.job.store.uri().trim_end_matches('/'), &path);
            return Ok(Self { store: context.job.store.clone(), path, uri, owner, extension });
        }
        let uri = parameters.out_uri.trim_end_matches('/').to_owned();
        let store = Store::create_within(&uri, &context.job.access.options, &context.job.access.write)
            .map_err(|source| ListsError::Address { uri: uri.clone(), source: Box::new(source) })?;
        Ok(Self { store, path: String::new(), uri, owner, extension })
    }

    pub(super) fn part_name(&self, shard: u32) -> String {
        format!("part-{shard:05}.{}", self.extension)
    }

    /// Names in the folder, and their bytes.
    async fn listed(&self) -> Result<Vec<(String, u64)>, ListsError> {
        let prefix = join(&self.path, "");
        let strip = |(path, bytes): (String, u64)| {
            (path.strip_prefix(&prefix).map(str::to_owned).unwrap_or(path), bytes)
        };
        Ok(self.store.list(&self.path).await?.into_iter().map(strip).collect())
    }

    /// Takes the folder for the job.
    pub(super) async fn claim(&self, about: &Value) -> Result<(), ListsError> {
        let listed = self.listed().await?;
        if listed.iter().any(|(name, _)| name == JOB_FILE) {
            return self.check_owner().await;
        }
        if let Some((name, _)) = listed.first() {
            return Err(self.occupied(name));
        }
        let text = format!("{:#}\n", json!({"job": self.owner.to_json(), "lists": about}));
        match self.store.put_new(&join(&self.path, JOB_FILE), text.into()).await? {
            Some(_) => Ok(()),
            // Another was quicker, or this job's own attempt before.
            None => self.check_owner().await,
        }
    }

    async fn check_owner(&self) -> Result<(), ListsError> {
        let file = self.store.get(&join(&self.path, JOB_FILE)).await?;
        if self.owner.wrote(&file) { Ok(()) } else { Err(self.occupied(JOB_FILE)) }
    }

    fn occupied(&self, name: &str) -> ListsError {
        ListsError::Occupied { uri: self.uri.clone(), name: name.to_owned() }
    }

    /// Whether a part is there as it was written.
    pub(super) async fn is_whole(&self, object: &ObjectEntry) -> Result<bool, ListsError> {
        let path = join(&self.path, &object.path);
        let found = match self.store.file_path(&path)? {
            // A part may be as large as it likes.
            Some(file) => mapped(&file)
                .map(|bytes| verify(&path, &bytes, object))
                .unwrap_or_else(|_| Err(StoreError::NotFound(path.clone()))),
            None => self.store.get_verified(&self.path, object).await.map(|_| ()),
        };
        match found {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound(_) | StoreError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes one part; the entry is its line of the manifest.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<ObjectEntry, ListsError> {
        let entry = self.store.put(&join(&self.path, name), bytes).await?;
        Ok(ObjectEntry { path: name.to_owned(), ..entry })
    }

    /// Removes what writers that were killed have left beside the parts: files of the store that are not renamed yet.
    fn remove_torn(&self, shard_count: u32) -> Result<(), ListsError> {
        let Some(folder) = self.store.file_path(&self.path)? else { return Ok(()) };
        let failed = |path: PathBuf| move |source| ListsError::File { path, source };
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed(folder.clone()))?,
        };
        let ours: HashSet<String> = (0..shard_count).map(|shard| self.part_name(shard)).collect();
        for entry in entries {
            let path = entry.map_err(failed(folder.clone()))?.path();
            let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.rsplit_once('#'));
            let is_torn = |(name, number): (&str, &str)| {
                ours.contains(name) && number.bytes().all(|byte| byte.is_ascii_digit())
            };
            if name.is_some_and(is_torn) {
                std::fs::remove_file(&path).map_err(failed(path.clone()))?;
            }
        }
        Ok(())
    }

    /// Looks for every part, then writes the counts and the manifest.
    pub(super) async fn finish(
        &self,
        about: &Value,
        mut parts: Vec<ListsPart>,
    ) -> Result<ListsInfo, ListsError> {
        parts.sort_by_key(|part| part.shard);
        self.remove_torn(parts.last().map_or(0, |part| part.shard + 1))?;
        let listed = self.listed().await?;
        let mut info = ListsInfo { uri: self.uri.clone(), ..ListsInfo::default() };
        let mut objects = Vec::new();
        for part in parts {
            let object = part.object.unwrap_or_default();
            let is_there =
                |(name, bytes): &(String, u64)| *name == object.path && *bytes == object.length_bytes;
            if !listed.iter().any(is_there) {
                return Err(ListsError::Missing { uri: self.uri.clone(), name: object.path });
            }
            info.users += part.users;
            info.fallback_users += part.fallback_users;
            info.rows += part.rows;
            info.left_out_users += part.left_out_users;
            info.unknown_ids += part.unknown_ids;
            info.files += 1;
            info.bytes += object.length_bytes;
            objects.push(object);
        }
        let mut about = about.clone();
        about["users"] = info.users.into();
        about["fallback_users"] = info.fallback_users.into();
        about["rows"] = info.rows.into();
        about["left_out_users"] = info.left_out_users.into();
        about["unknown_ids"] = info.unknown_ids.into();
        objects.push(self.put(ABOUT_FILE, format!("{about:#}\n").into()).await?);
        let manifest = Manifest::new("lists", objects);
        info.manifest_checksum = self.put(MANIFEST_FILE, manifest.to_bytes()).await?.checksum;
        Ok(info)
    }

    /// Removes what the job may have written; the owner's file goes last, so that this can be done again.
    pub(super) async fn discard(&self, shard_count: u32) -> Result<(), ListsError> {
        match self.check_owner().await {
            Ok(()) => {}
            // Nothing here is the job's.
            Err(ListsError::Occupied { .. } | ListsError::Store(StoreError::NotFound(_))) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.remove_torn(shard_count)?;
        let parts = (0..shard_count).map(|shard| self.part_name(shard));
        for name in parts.chain([MANIFEST_FILE, ABOUT_FILE, JOB_FILE].map(str::to_owned)) {
            self.store.delete(&join(&self.path, &name)).await?;
        }
        Ok(())
    }
}
