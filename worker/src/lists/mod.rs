//! Batch lists: the best items of every user, written as files.
//!
//! An attempt ([`ListsAttempt`]) maps every item shard of a version, shared with what is served where it is the same. Then
//! it is given user shards, one or two at a time: each of a shard's users is asked about as a router asks
//! ([`shoal_common::user_query`]), scored as a query is ([`crate::serve`]), and written as the rows of one part. A part
//! depends on the version and the request alone, not on who writes it, nor on how many threads.
//!
//! Memory: what serving all item shards of the version takes, and of each part that is under way a row group and the lists
//! of some blocks of users. A part grows in a file of this worker's and goes to its folder when it is whole, through a map.

mod columns;
mod context;
mod error;
mod folder;
mod part_file;
mod ranked;
mod rows;
mod users;

use std::{path::PathBuf, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::{ids::EntityId, private_files, store::LocalCache};
use shoal_proto::v1::{
    DatasetInfo, ListsBegin, ListsClaim, ListsClaimDone, ListsDiscard, ListsFinish, ListsInfo,
    ListsParameters, ListsPart, ListsWrite, ModelVersion, Side,
};
use tokio_util::sync::CancellationToken;

use self::{
    folder::{ListsFolder, Owner},
    part_file::mapped,
    ranked::Ranking,
    rows::PartWriter,
};
use crate::serve::{ItemShard, LoadedShard, Loader, UserShard};

pub use self::{context::ListsContext, error::ListsError};

/// Item shards that are loaded at once.
const LOADS_MAX: usize = 4;

/// Blocks of users that are ranked before their rows are written, per thread.
const BLOCKS_PER_THREAD: usize = 4;

/// One attempt of a job that writes lists.
#[derive(Debug)]
pub struct ListsAttempt {
    context: ListsContext,
    loader: Loader,
    version: ModelVersion,
    components: Vec<ModelVersion>,
    dataset: DatasetInfo,
    parameters: ListsParameters,
    ranking: Ranking,
    out: ListsFolder,
    /// The users to be listed, ascending; every one where there are none.
    named: Option<Vec<EntityId>>,
    _folder: OwnFolder,
}

/// A folder of the attempt's, which goes with it, also when it cannot begin.
#[derive(Debug)]
struct OwnFolder(PathBuf);

impl Drop for OwnFolder {
    fn drop(&mut self) {
        // What is left is emptied at the next start.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl ListsAttempt {
    /// Maps the item shards of the version.
    ///
    /// # Errors
    /// When the request does not fit the version, or something cannot be read.
    pub async fn begin(context: ListsContext, step: ListsBegin) -> Result<Self, ListsError> {
        let missing = |what: &str| ListsError::Request(format!("the {what} is missing"));
        let version = step.version.ok_or_else(|| missing("version"))?;
        let dataset = step.dataset.ok_or_else(|| missing("data set"))?;
        let parameters = step.parameters.ok_or_else(|| missing("description of the lists"))?;
        let owner = Owner::new(&context.job.cluster_id, &context.job_id, step.created_unix_ms);
        let out = ListsFolder::open(&context, &parameters, owner)?;
        let own = OwnFolder(context.job.folder.clone());
        let cache = own.0.join("cache");
        let loader = context.loader.apart(LocalCache::open(cache)?);
        let components = step.components;
        let named = match parameters.users_uri.as_str() {
            "" => None,
            uri => Some(users::read(uri, &context.job.access, dataset.user_id_kind()).await?),
        };
        let load = |shard| loader.load(&version, &components, &dataset, Side::Items, shard);
        let loads = stream::iter(0..dataset.shard_count).map(load).buffered(LOADS_MAX);
        let loaded: Vec<_> = loads.try_collect().await?;
        let source = loaded.first().map(|(source, _)| Arc::clone(source)).ok_or_else(|| missing("shard"))?;
        let shards = loaded.into_iter().filter_map(|(_, shard)| match shard {
            LoadedShard::Items(items) => Some(items),
            LoadedShard::Users(_) => None,
        });
        let shards: Vec<Arc<ItemShard>> = shards.collect();
        let ranking = Ranking::new(&source, &dataset, &parameters, shards)?;
        Ok(Self {
            context,
            loader,
            version,
            components,
            dataset,
            parameters,
            ranking,
            out,
            named,
            _folder: own,
        })
    }

    /// Takes the folder for the job, and says which of the parts are whole there.
    ///
    /// # Errors
    /// When the folder holds something else.
    pub async fn claim(&self, step: ListsClaim) -> Result<ListsClaimDone, ListsError> {
        let about = self.about();
        self.out.claim(&about).await?;
        let mut parts = Vec::new();
        for part in step.parts {
            if let Some(object) = &part.object
                && self.out.is_whole(object).await?
            {
                parts.push(part);
            }
        }
        Ok(ListsClaimDone { parts })
    }

    /// How many users a shard has.
    #[must_use]
    pub fn users_of(&self, shard: u32) -> u64 {
        self.dataset.user_shards.iter().find(|stats| stats.shard == shard).map_or(0, |stats| stats.rows)
    }

    /// Writes the lists of a user shard's users as a part. `on_users` hears how many more are done.
    ///
    /// # Errors
    /// When something cannot be read or written, or the step is cancelled.
    pub async fn write(
        self: &Arc<Self>,
        step: ListsWrite,
        cancelled: CancellationToken,
        on_users: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<ListsPart, ListsError> {
        let shard = step.shard;
        if shard >= self.dataset.shard_count {
            return Err(ListsError::Request(format!("the data set has no user shard {shard}")));
        }
        let loading = self.loader.load(&self.version, &self.components, &self.dataset, Side::Users, shard);
        let users = match loading.await? {
            (_, LoadedShard::Users(users)) => users,
            (_, LoadedShard::Items(_)) => return Err(ListsError::Request("no users were loaded".to_owned())),
        };
        let name = self.out.part_name(shard);
        let path = self.context.job.folder.join(&name);
        let (attempt, file) = (Arc::clone(self), path.clone());
        let writing = move || attempt.write_file(shard, &users, &file, &cancelled, &*on_users);
        let part = self.context.job.compute.run(writing).await??;
        let failed = |source| ListsError::File { path: path.clone(), source };
        let bytes = mapped(&path).map_err(failed)?;
        let object = self.out.put(&name, bytes).await?;
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(ListsPart { object: Some(object), ..part })
    }

    /// Ranks for the users of a shard, some blocks at a time, and writes their rows.
    fn write_file(
        &self,
        shard: u32,
        users: &UserShard,
        path: &std::path::Path,
        cancelled: &CancellationToken,
        on_users: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ListsPart, ListsError> {
        let failed = |source| ListsError::File { path: path.to_owned(), source };
        let (rows, unknown_ids) = match &self.named {
            None => ((0..users.rows()).collect(), 0),
            Some(named) => users::rows(named, users, shard, self.dataset.shard_count),
        };
        let mut part = ListsPart { shard, unknown_ids, ..ListsPart::default() };
        let file = private_files::create(path).map_err(failed)?;
        let mut writer = PartWriter::new(file, &self.parameters, &self.dataset).map_err(rows::at(path))?;
        let together = ranked::BLOCK_USERS * BLOCKS_PER_THREAD * rayon::current_num_threads();
        for rows in rows.chunks(together) {
            for block in self.ranking.blocks(users, rows, cancelled)? {
                part.left_out_users += block.left_out;
                for list in &block.lists {
                    part.users += 1;
                    part.fallback_users += u64::from(list.is_fallback());
                    part.rows += list.items.len() as u64;
                    writer.add(users.id(list.row), list, &self.ranking).map_err(rows::at(path))?;
                }
            }
            on_users(rows.len() as u64);
        }
        writer.finish().map_err(rows::at(path))?;
        Ok(part)
    }

    /// Closes the folder: from then on it is whole.
    ///
    /// # Errors
    /// When a part is not there, or the folder cannot be written.
    pub async fn finish(&self, step: ListsFinish) -> Result<ListsInfo, ListsError> {
        self.out.finish(&self.about(), step.parts).await
    }

    /// What is listed, for people who find the folder.
    fn about(&self) -> serde_json::Value {
        let ListsParameters { n, include_seen, known_users_only, .. } = &self.parameters;
        let short = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_ascii_lowercase();
        serde_json::json!({
            "model": self.version.model,
            "model_version": self.version.name,
            "dataset": { "name": self.dataset.name, "version": self.dataset.version },
            "n": n,
            "rank_by": short(self.parameters.rank_by().as_str_name(), "RANK_BY_"),
            "include_seen": include_seen,
            "known_users_only": known_users_only,
            "filter": self.parameters.filter.as_ref().map(shoal_common::readable::filter_json),
            "columns": columns::column_names(&self.parameters),
            "format": rows::extension(self.parameters.format()),
            // Among them which items the version leaves to other models.
            "remarks": self.version.remarks,
        })
    }
}

/// Removes what a job has written that came to nothing, if the folder is the job's.
///
/// # Errors
/// When the folder cannot be reached.
pub async fn discard(context: &ListsContext, step: ListsDiscard) -> Result<(), ListsError> {
    let parameters = step.parameters.unwrap_or_default();
    let owner = Owner::new(&context.job.cluster_id, &context.job_id, step.created_unix_ms);
    ListsFolder::open(context, &parameters, owner)?.discard(step.shard_count).await
}
