//! The first step: the owned blocks, the split, the slots and the starting factors.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use shoal_common::{
    ids::EntityId,
    store::{LocalCache, Manifest, PartKind, Store, StoreError, ids_part, join, part, verify},
};
use shoal_proto::v1::{
    DatasetInfo, ObjectEntry, ShardOwner, ShardRatingSum, ShardStats, Side, TrainLoad, WorkerPeer,
};

use super::{
    TrainContext, TrainError,
    cut::{Blocks, GivenPair, PairSplit},
    extent::Extent,
    settings::Settings,
    side::{Factors, OwnedShard, TrainingSide},
    split::{Given, Split, read_given},
};
use crate::{
    dataset::{blocks::RatingBlock, row::RatingRow},
    exchange::routing::{SideShards, SlotTable},
    id_column::IdColumn,
    tensor_file::TensorFile,
};

/// What the step makes.
pub(super) struct Loaded {
    pub(super) settings: Settings,
    pub(super) peers: Vec<WorkerPeer>,
    pub(super) me: usize,
    pub(super) users: TrainingSide,
    pub(super) items: TrainingSide,
    pub(super) user_factors: Factors,
    pub(super) item_factors: Factors,
}

/// What is read of: the store and one data set in it.
struct Source<'a> {
    context: &'a TrainContext,
    cache: &'a LocalCache,
    dataset: &'a DatasetInfo,
    manifest: Manifest,
}

pub(super) async fn load(
    context: &TrainContext,
    cache: &LocalCache,
    step: TrainLoad,
) -> Result<Loaded, TrainError> {
    let missing = |what: &str| TrainError::Request(format!("the {what} is missing"));
    let dataset = step.dataset.ok_or_else(|| missing("data set"))?;
    let parameters = step.parameters.ok_or_else(|| missing("parameters"))?;
    let settings = Settings::new(&parameters, dataset.users, dataset.items)?;
    let me =
        step.workers.iter().position(|peer| peer.node == context.node).ok_or_else(|| {
            TrainError::Request(format!("worker '{}' is not among the workers", context.node))
        })?;
    let manifest = Manifest::read(&context.store, &dataset.path, &dataset.manifest_checksum).await?;
    let source = Source { context, cache, dataset: &dataset, manifest };
    let shards_of = |side| side_shards(&dataset, side, &step.owners, &step.workers);
    let blocks = [
        source.blocks(Side::Users, shards_of(Side::Users)?, me).await?,
        source.blocks(Side::Items, shards_of(Side::Items)?, me).await?,
    ];
    let (split, given) = if parameters.test_uri.is_empty() {
        (Split::Ratio { ratio: parameters.test_ratio, seed: parameters.seed }, None)
    } else {
        let [users, items] = blocks.each_ref().map(Blocks::owned_shards);
        let shard_count = dataset.shard_count;
        let wanted = move |row: &RatingRow<'_>| {
            users.contains(&row.user.shard(shard_count)) || items.contains(&row.item.shard(shard_count))
        };
        let options = &context.store_options;
        let ratings = read_given(&parameters.test_uri, options, &dataset, &context.compute, wanted).await?;
        (Split::given(&ratings), Some(source.given_pairs(&blocks, ratings).await?))
    };
    let hashes = if split.holds_out_anything() {
        [source.id_hashes(Side::Users).await?, source.id_hashes(Side::Items).await?]
    } else {
        [Vec::new(), Vec::new()]
    };
    let (folder, workers) = (context.folder.clone(), step.workers.len());
    let (users, items) = context
        .compute
        .run(move || cut(blocks, hashes, &split, given.as_deref(), &folder, workers, me))
        .await??;
    if let Some(available) = context.memory_bytes {
        let extent = Extent {
            user_slots: users.table.slots(),
            item_slots: items.table.slots(),
            shards: (users.shards.count() + items.shards.count()) as usize,
            threads: context.compute.threads(),
        };
        extent.check(&settings, available)?;
    }
    let ((users, items), (mut user_factors, mut item_factors)) = {
        let settings = settings.clone();
        let fill = move || {
            let factors = (Factors::initial(&users, &settings), Factors::initial(&items, &settings));
            ((users, items), factors)
        };
        context.compute.run(fill).await?
    };
    if !step.checkpoint_path.is_empty() {
        let manifest = Manifest::read(&context.store, &step.checkpoint_path, "").await?;
        for (side, factors) in [(&users, &mut user_factors), (&items, &mut item_factors)] {
            restore(&context.store, &step.checkpoint_path, &manifest, &settings, side, factors).await?;
        }
    }
    Ok(Loaded { settings, peers: step.workers, me, users, items, user_factors, item_factors })
}

/// Where each shard of a side is, from the leader's assignment.
fn side_shards(
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

impl Source<'_> {
    /// The owned blocks of a side, mapped and checked.
    async fn blocks(&self, side: Side, shards: SideShards, me: usize) -> Result<Blocks, TrainError> {
        let other_rows = if side == Side::Items { self.dataset.users } else { self.dataset.items };
        let mut files = Vec::new();
        for shard in shards.owned_by(me) {
            let entry = self.manifest.entry(&part(PartKind::Ratings, side, shard))?.clone();
            let rows = shards.shard_rows(shard).len();
            // A file of the store is mapped where it is: no copy, on the disk or in memory.
            let path = match self.context.store.file_path(&join(&self.dataset.path, &entry.path)) {
                Some(path) => path,
                None => self.cache.fetch(&self.context.store, &self.dataset.path, &entry).await?,
            };
            files.push((shard, rows, path, entry));
        }
        let open = move |(shard, rows, path, entry): (u32, usize, PathBuf, ObjectEntry)| {
            let file = TensorFile::map(&path)?;
            verify(&entry.path, file.bytes(), &entry)?;
            Ok::<_, TrainError>((shard, RatingBlock::open(file, rows, other_rows)?))
        };
        let opening = move || files.into_par_iter().map(open).collect::<Result<Vec<_>, _>>();
        Ok(Blocks { side, shards, blocks: self.context.compute.run(opening).await?? })
    }

    /// The ids of a shard, from the small object that has only them.
    async fn shard_ids(&self, side: Side, shard: u32) -> Result<IdColumn, TrainError> {
        let path = ids_part(side, shard);
        let bytes = self.context.store.get_verified(&self.dataset.path, self.manifest.entry(&path)?).await?;
        Ok(IdColumn::read(&TensorFile::from_bytes(&path, &bytes)?)?)
    }

    /// The hash of every id of a side, by global row.
    async fn id_hashes(&self, side: Side) -> Result<Vec<u64>, TrainError> {
        let mut hashes = Vec::new();
        for shard in 0..self.dataset.shard_count {
            let ids = self.shard_ids(side, shard).await?;
            hashes.extend((0..ids.len()).map(|row| ids.hash64(row)));
        }
        Ok(hashes)
    }

    /// The rows of the given pairs of owned users whose item is known, by row and item.
    async fn given_pairs(
        &self,
        [users, items]: &[Blocks; 2],
        given: Vec<Given>,
    ) -> Result<Vec<GivenPair>, TrainError> {
        let shard_count = self.dataset.shard_count;
        let mut by_shard: Vec<Vec<(usize, EntityId, f32)>> = vec![Vec::new(); shard_count as usize];
        for rating in given {
            let shard = rating.user.shard(shard_count);
            let mut first = 0;
            for (owned, block) in &users.blocks {
                if *owned == shard
                    && let Some(row) = block.ids().find(&rating.user)
                {
                    let item_shard = rating.item.shard(shard_count) as usize;
                    by_shard[item_shard].push((first + row, rating.item.clone(), rating.rating));
                }
                first += block.rows();
            }
        }
        let mut pairs = Vec::new();
        for (shard, of_shard) in (0..).zip(by_shard) {
            if of_shard.is_empty() {
                continue;
            }
            let ids = self.shard_ids(Side::Items, shard).await?;
            let first = items.shards.shard_rows(shard).start;
            let known = of_shard.into_iter().filter_map(|(user, item, rating)| {
                ids.find(&item).map(|row| (user, first + row as u32, rating))
            });
            pairs.extend(known);
        }
        pairs.sort_by_key(|pair| (pair.0, pair.1));
        pairs.dedup_by_key(|pair| (pair.0, pair.1));
        Ok(pairs)
    }
}

/// Slots and training ratings of both sides. The blocks are let go of.
fn cut(
    [users, items]: [Blocks; 2],
    [user_hashes, item_hashes]: [Vec<u64>; 2],
    split: &Split,
    given: Option<&[GivenPair]>,
    folder: &Path,
    workers: usize,
    me: usize,
) -> Result<(TrainingSide, TrainingSide), TrainError> {
    let of_users = PairSplit { split, other_hashes: item_hashes };
    let of_items = PairSplit { split, other_hashes: user_hashes };
    let mut user_counts = users.count(&of_users, u64::from(items.shards.rows()));
    if let Some(given) = given {
        user_counts.hold_out(given);
    }
    let item_counts = items.count(&of_items, u64::from(users.shards.rows()));
    let (item_table, item_slots) = SlotTable::build(&items.shards, workers, me, user_counts.needed.iter());
    let (user_table, user_slots) = SlotTable::build(&users.shards, workers, me, item_counts.needed.iter());
    let path = |name: &str| folder.join(format!("training-{name}.safetensors"));
    let user_file =
        users.write(&path("users"), &of_users, &user_counts, given, |row| item_slots.slot(row))?;
    let item_file = items.write(&path("items"), &of_items, &item_counts, None, |row| user_slots.slot(row))?;
    Ok((
        TrainingSide::new(users, user_table, user_counts, user_file),
        TrainingSide::new(items, item_table, item_counts, item_file),
    ))
}

/// Reads a checkpoint's rows of the owned shards.
async fn restore(
    store: &Store,
    checkpoint: &str,
    manifest: &Manifest,
    settings: &Settings,
    side: &TrainingSide,
    factors: &mut Factors,
) -> Result<(), TrainError> {
    for owned in &side.owned {
        let path = part(PartKind::Factors, side.side, owned.shard);
        let bytes = store.get_verified(checkpoint, manifest.entry(&path)?).await?;
        let file = TensorFile::from_bytes(&path, &bytes)?;
        if IdColumn::read(&file)? != owned.ids {
            return Err(
                StoreError::Damaged { path, reason: "its rows are not the data set's".to_owned() }.into()
            );
        }
        for (objective, width) in settings.widths() {
            super::write::read_rows(
                &file,
                objective,
                settings.rank,
                width,
                &mut factors.of_mut(objective)[owned.rows.start * width..owned.rows.end * width],
            )?;
        }
    }
    Ok(())
}

impl Loaded {
    /// Training ratings per owned user shard: how many, and their sum in row order.
    pub(super) fn rating_sums(&self) -> Vec<ShardRatingSum> {
        let users = &self.users;
        let ratings = users.file.ratings();
        let sum_of = |owned: &OwnedShard| {
            let range = users.indptr[owned.rows.start] as usize..users.indptr[owned.rows.end] as usize;
            let sum = ratings[range.clone()].iter().map(|&rating| f64::from(rating)).sum();
            ShardRatingSum { shard: owned.shard, ratings: range.len() as u64, sum }
        };
        users.owned.iter().map(sum_of).collect()
    }

    /// Rows and training ratings per owned user shard.
    pub(super) fn user_stats(&self) -> Vec<ShardStats> {
        let users = &self.users;
        let stats = |owned: &OwnedShard| ShardStats {
            shard: owned.shard,
            rows: owned.rows.len() as u64,
            ratings: users.indptr[owned.rows.end] - users.indptr[owned.rows.start],
        };
        users.owned.iter().map(stats).collect()
    }

    /// Bytes of ratings and factors in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        let sides = self.users.memory_bytes() + self.items.memory_bytes();
        (sides + self.user_factors.memory_bytes() + self.item_factors.memory_bytes()) as u64
    }
}
