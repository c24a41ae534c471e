//! The first step: the owned blocks, the split, the slots and the starting factors.

use std::{collections::HashMap, sync::Arc};

use shoal_common::{
    ids::EntityId,
    store::{LocalCache, Manifest, PartKind, Store, StoreError, ids_part, part},
};
use shoal_proto::v1::{DatasetInfo, ShardOwner, ShardRatingSum, ShardStats, Side, TrainLoad, WorkerPeer};

use super::{
    TrainContext, TrainError,
    settings::Settings,
    side::{Factors, HeldOut, OwnedShard, TrainingSide},
    split::{Split, read_given},
};
use crate::{
    dataset::{blocks::RatingBlock, parse::Rating},
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
    pub(super) held_out: HeldOut,
    pub(super) user_factors: Factors,
    pub(super) item_factors: Factors,
}

/// The owned blocks of one side, with a mark per rating: held out or not.
struct Blocks {
    side: Side,
    shards: SideShards,
    blocks: Arc<Vec<(u32, RatingBlock)>>,
    held: Vec<Vec<bool>>,
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
    let shards_of = |side| side_shards(&dataset, side, &step.owners, &step.workers);
    let mut sides = [
        fetch_blocks(context, cache, &dataset, &manifest, Side::Users, shards_of(Side::Users)?, me).await?,
        fetch_blocks(context, cache, &dataset, &manifest, Side::Items, shards_of(Side::Items)?, me).await?,
    ];
    let mut given = None;
    let split = if parameters.test_uri.is_empty() {
        Split::Ratio { ratio: parameters.test_ratio, seed: parameters.seed }
    } else {
        let owned = |at: usize, id: &EntityId| {
            let shard = id.shard(dataset.shard_count);
            sides[at].blocks.iter().any(|(owned, _)| *owned == shard)
        };
        let wanted = |user: &EntityId, item: &EntityId| owned(0, user) || owned(1, item);
        let ratings = read_given(&parameters.test_uri, &context.store_options, &dataset, wanted).await?;
        let split = Split::given(&ratings);
        given = Some(ratings);
        split
    };
    if split.holds_out_anything() {
        mark_held_out(context, &dataset, &manifest, &Arc::new(split), &mut sides).await?;
    }
    let given = resolve_given(context, &dataset, &manifest, &sides, given).await?;
    let workers = step.workers.len();
    let (users, items, held_out) = context
        .compute
        .run(move || {
            let [users, items] = sides;
            build_sides(users, items, given, workers, me)
        })
        .await?;
    let (user_factors, item_factors) =
        starting_factors(context, &settings, &users, &items, &step.checkpoint_path).await?;
    Ok(Loaded { settings, peers: step.workers, me, users, items, held_out, user_factors, item_factors })
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

async fn fetch_blocks(
    context: &TrainContext,
    cache: &LocalCache,
    dataset: &DatasetInfo,
    manifest: &Manifest,
    side: Side,
    shards: SideShards,
    me: usize,
) -> Result<Blocks, TrainError> {
    let other_rows = if side == Side::Items { dataset.users } else { dataset.items };
    let mut blocks = Vec::new();
    for shard in shards.owned_by(me) {
        let entry = manifest.entry(&part(PartKind::Ratings, side, shard))?;
        let file = cache.fetch(&context.store, &dataset.path, entry).await?;
        let rows = shards.shard_rows(shard).len();
        let block = context
            .compute
            .run(move || RatingBlock::open(TensorFile::map(&file)?, rows, other_rows))
            .await??;
        blocks.push((shard, block));
    }
    let held = blocks.iter().map(|(_, block)| vec![false; block.indices().len()]).collect();
    Ok(Blocks { side, shards, blocks: Arc::new(blocks), held })
}

/// Marks the held-out pairs of both sides. The other side's ids are read one shard at a time.
async fn mark_held_out(
    context: &TrainContext,
    dataset: &DatasetInfo,
    manifest: &Manifest,
    split: &Arc<Split>,
    sides: &mut [Blocks; 2],
) -> Result<(), TrainError> {
    for at in 0..sides.len() {
        let other = if sides[at].side == Side::Items { Side::Users } else { Side::Items };
        for shard in 0..dataset.shard_count {
            let ids = shard_ids(&context.store, dataset, manifest, other, shard).await?;
            let rows = sides[1 - at].shards.shard_rows(shard);
            let (blocks, split) = (Arc::clone(&sides[at].blocks), Arc::clone(split));
            let side = sides[at].side;
            let mut held = std::mem::take(&mut sides[at].held);
            let marking = context.compute.run(move || {
                mark_shard(side, &blocks, &mut held, &split, &rows, &ids);
                held
            });
            sides[at].held = marking.await?;
        }
    }
    Ok(())
}

/// The ids of a shard of a data set, from the small object that has only them.
pub(super) async fn shard_ids(
    store: &Store,
    dataset: &DatasetInfo,
    manifest: &Manifest,
    side: Side,
    shard: u32,
) -> Result<IdColumn, TrainError> {
    let path = ids_part(side, shard);
    let bytes = store.get_verified(&dataset.path, manifest.entry(&path)?).await?;
    Ok(IdColumn::read(&TensorFile::from_bytes(&path, &bytes)?)?)
}

fn mark_shard(
    side: Side,
    blocks: &[(u32, RatingBlock)],
    held: &mut [Vec<bool>],
    split: &Split,
    rows: &std::ops::Range<u32>,
    other_ids: &IdColumn,
) {
    let hashes: Vec<u64> = (0..other_ids.len()).map(|row| other_ids.hash64(row)).collect();
    for ((_, block), held) in blocks.iter().zip(held) {
        for row in 0..block.rows() {
            let span = block.span(row);
            let indices = &block.indices()[span.clone()];
            let begin = indices.partition_point(|&index| index < rows.start);
            let end = indices.partition_point(|&index| index < rows.end);
            let own = block.ids().hash64(row);
            for (offset, &index) in indices[begin..end].iter().enumerate() {
                let other = hashes[(index - rows.start) as usize];
                let (user, item) = if side == Side::Items { (other, own) } else { (own, other) };
                held[span.start + begin + offset] = split.is_held_out(user, item);
            }
        }
    }
}

/// Slots and compressed training rows of both sides, and the users' held-out pairs.
fn build_sides(
    users: Blocks,
    items: Blocks,
    given: Option<Vec<GivenPair>>,
    workers: usize,
    me: usize,
) -> (TrainingSide, TrainingSide, HeldOut) {
    let needed = |blocks: &Blocks| {
        let pairs = blocks.blocks.iter().zip(&blocks.held);
        let rows = pairs.flat_map(|((_, block), held)| block.indices().iter().zip(held));
        rows.filter(|(_, held)| !**held).map(|(row, _)| *row).collect::<Vec<u32>>()
    };
    let (item_table, item_slots) = SlotTable::build(&items.shards, workers, me, needed(&users));
    let (user_table, user_slots) = SlotTable::build(&users.shards, workers, me, needed(&items));
    let held_out = match given {
        Some(pairs) => given_pairs(&users, pairs),
        None => held_out_pairs(&users),
    };
    let users = compress(users, user_table, |row| item_slots.slot(row));
    let items = compress(items, item_table, |row| user_slots.slot(row));
    (users, items, held_out)
}

fn compress(blocks: Blocks, table: SlotTable, slot: impl Fn(u32) -> u32) -> TrainingSide {
    let (mut indptr, mut slots, mut ratings) = (vec![0], Vec::new(), Vec::new());
    let mut owned = Vec::new();
    for ((shard, block), held) in blocks.blocks.iter().zip(blocks.held) {
        let first = indptr.len() - 1;
        for row in 0..block.rows() {
            for at in block.span(row).filter(|&at| !held[at]) {
                slots.push(slot(block.indices()[at]));
                ratings.push(block.ratings()[at]);
            }
            indptr.push(slots.len() as u64);
        }
        owned.push(OwnedShard { shard: *shard, rows: first..indptr.len() - 1, ids: block.ids().clone() });
    }
    TrainingSide { side: blocks.side, shards: blocks.shards, owned, table, indptr, slots, ratings }
}

fn held_out_pairs(users: &Blocks) -> HeldOut {
    let mut pairs = HeldOut { indptr: vec![0], ..HeldOut::default() };
    for ((_, block), held) in users.blocks.iter().zip(&users.held) {
        for row in 0..block.rows() {
            for at in block.span(row).filter(|&at| held[at]) {
                pairs.items.push(block.indices()[at]);
                pairs.ratings.push(block.ratings()[at]);
            }
            pairs.indptr.push(pairs.items.len() as u64);
        }
    }
    pairs
}

/// A held-out pair of a file: the own user row, the global item row, the rating.
type GivenPair = (usize, u32, f32);

/// The rows of the given pairs of owned users whose item is known; `None` when no file was given.
async fn resolve_given(
    context: &TrainContext,
    dataset: &DatasetInfo,
    manifest: &Manifest,
    sides: &[Blocks; 2],
    given: Option<Vec<Rating>>,
) -> Result<Option<Vec<GivenPair>>, TrainError> {
    let Some(given) = given else { return Ok(None) };
    let [users, items] = sides;
    let mut by_shard: Vec<Vec<(usize, EntityId, f32)>> = vec![Vec::new(); dataset.shard_count as usize];
    for rating in given {
        let shard = rating.user.shard(dataset.shard_count);
        let mut first = 0;
        for (owned, block) in users.blocks.iter() {
            if *owned == shard
                && let Some(row) = block.ids().find(&rating.user)
            {
                let item_shard = rating.item.shard(dataset.shard_count);
                by_shard[item_shard as usize].push((first + row, rating.item.clone(), rating.rating));
            }
            first += block.rows();
        }
    }
    let mut pairs = Vec::new();
    for (shard, of_shard) in by_shard.into_iter().enumerate() {
        if of_shard.is_empty() {
            continue;
        }
        let ids = shard_ids(&context.store, dataset, manifest, Side::Items, shard as u32).await?;
        let first = items.shards.shard_rows(shard as u32).start;
        let known = of_shard
            .into_iter()
            .filter_map(|(user, item, rating)| ids.find(&item).map(|row| (user, first + row as u32, rating)));
        pairs.extend(known);
    }
    pairs.sort_by_key(|pair| (pair.0, pair.1));
    pairs.dedup_by_key(|pair| (pair.0, pair.1));
    Ok(Some(pairs))
}

fn given_pairs(users: &Blocks, pairs: Vec<GivenPair>) -> HeldOut {
    let rows = users.blocks.iter().map(|(_, block)| block.rows()).sum::<usize>();
    let mut held_out = HeldOut { indptr: vec![0], ..HeldOut::default() };
    let mut pairs = pairs.into_iter().peekable();
    for row in 0..rows {
        while let Some((_, item, rating)) = pairs.next_if(|pair| pair.0 == row) {
            held_out.items.push(item);
            held_out.ratings.push(rating);
        }
        held_out.indptr.push(held_out.items.len() as u64);
    }
    held_out
}

/// Initial factors, or those of a checkpoint.
async fn starting_factors(
    context: &TrainContext,
    settings: &Settings,
    users: &TrainingSide,
    items: &TrainingSide,
    checkpoint: &str,
) -> Result<(Factors, Factors), TrainError> {
    let mut factors = (Factors::initial(users, settings), Factors::initial(items, settings));
    if !checkpoint.is_empty() {
        let manifest = Manifest::read(&context.store, checkpoint, "").await?;
        restore(&context.store, checkpoint, &manifest, settings, users, &mut factors.0).await?;
        restore(&context.store, checkpoint, &manifest, settings, items, &mut factors.1).await?;
    }
    Ok(factors)
}

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
        let sum_of = |owned: &OwnedShard| {
            let range = users.indptr[owned.rows.start] as usize..users.indptr[owned.rows.end] as usize;
            let sum = users.ratings[range.clone()].iter().map(|&rating| f64::from(rating)).sum();
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
