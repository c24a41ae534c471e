//! The factors of the items, block by block, as users are measured against them: read from the parts of a checkpoint or
//! a version. A block is some consecutive item shards, and so some consecutive global rows; memory is that of one block.

use std::ops::Range;

use shoal_common::store::{Manifest, PartKind, part};
use shoal_engine::{
    als::{explicit, kernel::Kernel},
    evaluate::{RankedItems, RankedUser},
    large_pages::LargePages,
    score::{Bounds, rating_base},
};
use shoal_proto::v1::{Objective, Side};

use super::{
    context::TrainContext,
    error::TrainError,
    factor_part::{TRAIN_COUNTS, read_item_part, read_rows},
    settings::Settings,
    training_side::Factors,
};
use crate::exchange::routing::SideShards;

/// Bytes of a block's factors, unless one shard has more. The larger a block, the sooner its bounds end a pass.
const BLOCK_BYTES: usize = 256 * 1024 * 1024;

/// Shards of a side in blocks of about [`BLOCK_BYTES`], of at least one shard each.
pub(super) fn blocks(shards: &SideShards, settings: &Settings) -> Vec<Range<u32>> {
    let row_bytes: usize = settings.widths().iter().map(|(_, width)| width * size_of::<f32>()).sum();
    let mut blocks: Vec<Range<u32>> = Vec::new();
    let mut bytes = 0;
    for shard in 0..shards.count() {
        let of_shard = shards.shard_rows(shard).len() * row_bytes;
        match blocks.last_mut() {
            Some(block) if bytes + of_shard <= BLOCK_BYTES => {
                block.end = shard + 1;
                bytes += of_shard;
            }
            _ => {
                blocks.push(shard..shard + 1);
                bytes = of_shard;
            }
        }
    }
    blocks
}

/// A block of items.
#[derive(Debug)]
pub(super) struct FactorItems {
    /// The global rows of these items.
    pub(super) rows: Range<u32>,
    /// Training ratings of each.
    pub(super) train_counts: Vec<u32>,
    explicit: Option<explicit::Settings>,
    /// Stored rows of the rating objective, factors and bias.
    rated: LargePages,
    ranked: RankedItems,
}

/// A user whose list is chosen from a block.
pub(super) type ListedUser<'a> = RankedUser<'a>;

impl FactorItems {
    /// Reads the shards of a block below `path`.
    pub(super) async fn read(
        context: &TrainContext,
        path: &str,
        manifest: &Manifest,
        side: &SideShards,
        block: Range<u32>,
        settings: &Settings,
    ) -> Result<Self, TrainError> {
        let mut files = Vec::with_capacity(block.len());
        for shard in block.clone() {
            let entry = manifest.entry(&part(PartKind::Factors, Side::Items, shard))?;
            files.push((read_item_part(context, path, entry).await?, side.shard_rows(shard)));
        }
        let rows = side.shard_rows(block.start).start..side.shard_rows(block.end - 1).end;
        let settings = settings.clone();
        let making = context.job.compute.run(move || {
            let mut factors = Factors::zeroed(rows.len(), &settings);
            let mut train_counts = Vec::with_capacity(rows.len());
            for (file, of_shard) in &files {
                let at = (of_shard.start - rows.start) as usize..(of_shard.end - rows.start) as usize;
                for (objective, width) in settings.widths() {
                    let target = &mut factors.of_mut(objective)[at.start * width..at.end * width];
                    read_rows(file, objective, settings.rank, width, target)?;
                }
                let counts = file.vector::<u32>(TRAIN_COUNTS)?;
                if counts.len() != of_shard.len() {
                    return Err(file
                        .tensor_error(TRAIN_COUNTS, "it has another number of rows".to_owned())
                        .into());
                }
                train_counts.extend_from_slice(counts);
            }
            Ok::<_, TrainError>(Self::new(rows, factors, train_counts, &settings))
        });
        making.await?
    }

    fn new(rows: Range<u32>, factors: Factors, train_counts: Vec<u32>, settings: &Settings) -> Self {
        let Factors { rating: rated, ranking } = factors;
        let rank = settings.rank;
        let explicit = settings.rating();
        // Without ranking factors lists are ordered by the predicted rating.
        let by_rating = explicit.filter(|_| settings.ranking(Side::Users).is_none());
        let (factors, biases) = match by_rating {
            Some(explicit) => {
                let width = explicit.width();
                let stored = rated.chunks_exact(width);
                let biases = stored.clone().map(|row| row.get(rank).copied().unwrap_or_default());
                let factors: Vec<f32> = stored.clone().flat_map(|row| &row[..rank]).copied().collect();
                (factors.into(), Some(biases.collect()))
            }
            None => (ranking, None),
        };
        let counts = train_counts.clone();
        let ranked = RankedItems::new(rows.start, rank, factors, biases, counts, Bounds::Fastest);
        Self { rows, train_counts, explicit, rated, ranked }
    }

    /// The predicted rating of one of the items by the user whose stored row is `own`, as it is, whatever the scale;
    /// `None` where the rating objective is not trained.
    pub(super) fn predict(&self, kernel: Kernel, own: &[f32], item: u32) -> Option<f64> {
        let explicit = self.explicit?;
        let (rank, width) = (explicit.rank, explicit.width());
        let item = &self.rated[(item - self.rows.start) as usize * width..][..width];
        let biases = if width > rank { f64::from(own[rank]) + f64::from(item[rank]) } else { 0.0 };
        Some(explicit.rating_mean + biases + f64::from(kernel.dot(&own[..rank], &item[..rank])))
    }

    /// Offers the items to the lists of some users, best of as many as are ranked together.
    pub(super) fn offer(&self, users: &mut [ListedUser<'_>], length: usize) {
        self.ranked.offer(users, length);
    }
}

/// What lists of a user are ranked by: the factors, and the part of a predicted rating that is the same for all items.
pub(super) fn query<'a>(settings: &Settings, users: &'a Factors, row: usize) -> (&'a [f32], f32) {
    let rank = settings.rank;
    match settings.rating().filter(|_| settings.ranking(Side::Users).is_none()) {
        Some(explicit) => {
            let own = &users.of(Objective::Rating)[row * explicit.width()..][..explicit.width()];
            let bias = own.get(rank).copied().unwrap_or_default();
            (&own[..rank], rating_base(explicit.rating_mean, bias))
        }
        None => (&users.of(Objective::Ranking)[row * rank..][..rank], 0.0),
    }
}

/// The stored row by which a user's ratings are predicted; empty where the rating objective is not trained.
pub(super) fn rating_row<'a>(settings: &Settings, users: &'a Factors, row: usize) -> &'a [f32] {
    let width = settings.rating().map_or(0, |explicit| explicit.width());
    &users.of(Objective::Rating)[row * width..][..width]
}
