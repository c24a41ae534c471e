//! The blocks and ids of one data set, and where its shards are.

use std::{collections::HashMap, path::PathBuf};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rayon::prelude::*;
use shoal_common::store::{LocalCache, Manifest, PartKind, ids_part, join, part, verify};
use shoal_format::{blocks::RatingBlock, id_column::IdColumn, tensor_file::TensorFile};
use shoal_proto::v1::{DatasetInfo, DatasetSource, ObjectEntry, ShardOwner, Side, WorkerPeer};

use super::{
    context::TrainContext,
    error::TrainError,
    held_out_file::{Directory, Given, read_given},
    training_ratings::Blocks,
};
use crate::{exchange::routing::SideShards, job_context::JobContext};

/// Small objects that are read at once.
const OBJECTS_AT_ONCE: usize = 16;

/// What is read of: the store and one data set in it.
pub(super) struct DatasetBlocks<'a> {
    context: &'a TrainContext,
    cache: &'a LocalCache,
    dataset: &'a DatasetInfo,
    pub(super) manifest: Manifest,
}

impl<'a> DatasetBlocks<'a> {
    pub(super) async fn open(
        context: &'a TrainContext,
        cache: &'a LocalCache,
        dataset: &'a DatasetInfo,
    ) -> Result<Self, TrainError> {
        let manifest = Manifest::read(&context.job.store, &dataset.path, &dataset.manifest_checksum).await?;
        Ok(Self { context, cache, dataset, manifest })
    }

    /// The owned blocks of a side, mapped and checked.
    pub(super) async fn blocks(
        &self,
        side: Side,
        shards: SideShards,
        me: usize,
    ) -> Result<Blocks, TrainError> {
        let other_rows = if side == Side::Items { self.dataset.users } else { self.dataset.items };
        let mut files = Vec::new();
        for shard in shards.owned_by(me) {
            let entry = self.manifest.entry(&part(PartKind::Ratings, side, shard))?.clone();
            let rows = shards.shard_rows(shard).len();
            // A file of the store is mapped where it is: no copy, on the disk or in memory.
            let path = match self.context.job.store.file_path(&join(&self.dataset.path, &entry.path))? {
                Some(path) => path,
                None => self.cache.fetch(&self.context.job.store, &self.dataset.path, &entry).await?,
            };
            files.push((shard, rows, path, entry));
        }
        let open = move |(shard, rows, path, entry): (u32, usize, PathBuf, ObjectEntry)| {
            let file = TensorFile::map(&path)?;
            verify(&entry.path, file.bytes(), &entry)?;
            let block = RatingBlock::open(file, rows, other_rows)?;
            block.release();
            Ok::<_, TrainError>((shard, block))
        };
        let opening = move || files.into_par_iter().map(open).collect::<Result<Vec<_>, _>>();
        Ok(Blocks { side, shards, blocks: self.context.job.compute.run(opening).await?? })
    }

    /// The ids of a shard, from the small object that has only them.
    async fn shard_ids(&self, side: Side, shard: u32) -> Result<IdColumn, TrainError> {
        let path = ids_part(side, shard);
        let bytes =
            self.context.job.store.get_verified(&self.dataset.path, self.manifest.entry(&path)?).await?;
        Ok(IdColumn::read(&TensorFile::from_bytes(&path, &bytes)?)?)
    }

    /// The ids of a side, by shard.
    pub(super) async fn ids(&self, side: Side) -> Result<Vec<IdColumn>, TrainError> {
        let shards: Vec<_> = (0..self.dataset.shard_count).map(|shard| self.shard_ids(side, shard)).collect();
        stream::iter(shards).buffered(OBJECTS_AT_ONCE).try_collect().await
    }

    /// The hash of every id of a side, by global row.
    pub(super) async fn id_hashes(&self, side: Side) -> Result<Vec<u64>, TrainError> {
        let ids = self.ids(side).await?;
        Ok(ids.iter().flat_map(|ids| (0..ids.len()).map(|row| ids.hash64(row))).collect())
    }

    /// The pairs that a held-out file names, by own row of each side.
    pub(super) async fn given(
        &self,
        [users, items]: &[SideShards; 2],
        test: &DatasetSource,
        me: usize,
    ) -> Result<Given, TrainError> {
        let (user_ids, item_ids) = futures::try_join!(self.ids(Side::Users), self.ids(Side::Items))?;
        let directories = [Directory::new(users, user_ids, me), Directory::new(items, item_ids, me)];
        let JobContext { access, compute, .. } = &self.context.job;
        read_given(test, access, self.dataset, compute, directories).await
    }
}

/// This worker's place among the workers of an attempt.
pub(super) fn position_of(context: &TrainContext, workers: &[WorkerPeer]) -> Result<usize, TrainError> {
    let position = workers.iter().position(|peer| peer.node == context.job.node);
    position
        .ok_or_else(|| TrainError::Request(format!("worker '{}' is not among the workers", context.job.node)))
}

/// Where each shard of a side is, from the leader's assignment.
pub(super) fn side_shards(
    dataset: &DatasetInfo,
    side: Side,
    owners: &[ShardOwner],
    workers: &[WorkerPeer],
) -> Result<SideShards, TrainError> {
    let stats = if side == Side::Items { &dataset.item_shards } else { &dataset.user_shards };
    let positions: HashMap<&str, usize> =
        workers.iter().enumerate().map(|(at, peer)| (peer.node.as_str(), at)).collect();
    let by_shard: HashMap<u32, &ShardOwner> =
        owners.iter().filter(|owner| owner.side() == side).map(|owner| (owner.shard, owner)).collect();
    let owners = stats
        .iter()
        .map(|stats| {
            by_shard
                .get(&stats.shard)
                .and_then(|owner| positions.get(owner.node.as_str()).copied())
                .ok_or_else(|| TrainError::Request(format!("shard {} of {side:?} has no owner", stats.shard)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(SideShards::new(stats.iter().map(|stats| stats.rows), owners)?)
}
