//! Where each user's held-out ratings begin, when the newest are held out.
//!
//! The owner of a user sees all of the user's ratings and finds the cut; the owners of items, who see only what their
//! items were given, read the cuts of all users before they load. So both sides agree on every pair, whoever owns
//! what, and of a user sixteen bytes travel. Ratings of one second are told apart by a hash of the pair: people rate
//! whole pages at a time, and the order of ids must not decide what is measured.

use rayon::prelude::*;
use shoal_common::store::{LocalCache, PartKind, join, part};
use shoal_core::hash::pair_hash;
use shoal_format::{blocks::RatingBlock, tensor_file::TensorFileError};
use shoal_proto::v1::{ObjectEntry, Side, SplitCuts, SplitCutsDone, SplitParameters};

use super::{
    context::TrainContext,
    dataset_blocks::{DatasetBlocks, position_of, side_shards},
    error::TrainError,
    split_times::{SplitTime, cuts_bytes},
};

/// The step: finds the cuts of the owned users and writes them below the step's path.
///
/// # Errors
/// When the request makes no sense, a block is missing or damaged, or the store cannot be written.
pub async fn write_cuts(context: TrainContext, step: SplitCuts) -> Result<SplitCutsDone, TrainError> {
    let done = cut_users(&context, step).await;
    // Blocks that were fetched. The step that loads begins with a folder of its own.
    let _ = std::fs::remove_dir_all(&context.job.folder);
    done
}

async fn cut_users(context: &TrainContext, step: SplitCuts) -> Result<SplitCutsDone, TrainError> {
    let missing = |what: &str| TrainError::Request(format!("the {what} is missing"));
    let dataset = step.dataset.ok_or_else(|| missing("data set"))?;
    let split = step.split.ok_or_else(|| missing("split"))?;
    let cache = LocalCache::open(context.job.folder.clone())?;
    let source = DatasetBlocks::open(context, &cache, &dataset).await?;
    let shards = side_shards(&dataset, Side::Users, &step.owners, &step.workers)?;
    let users = source.blocks(Side::Users, shards, position_of(context, &step.workers)?).await?;
    let item_hashes = source.id_hashes(Side::Items).await?;
    let cutting = move || {
        let cut = |(shard, block): &(u32, RatingBlock)| {
            let name = part(PartKind::Cuts, Side::Users, *shard);
            let bytes = cuts_bytes(&name, &cuts_of(block, &item_hashes, &split))?;
            let timed = block.timestamps().iter().filter(|&&time| time != 0).count() as u64;
            block.release();
            Ok::<_, TensorFileError>((name, bytes, timed))
        };
        users.blocks.par_iter().map(cut).collect::<Result<Vec<_>, _>>()
    };
    let mut done = SplitCutsDone::default();
    for (name, bytes, timed) in context.job.compute.run(cutting).await?? {
        let entry = context.job.store.put(&join(&step.path, &name), bytes).await?;
        done.objects.push(ObjectEntry { path: name, ..entry });
        done.timed_ratings += timed;
    }
    Ok(done)
}

/// The cut of each user of a block.
fn cuts_of(block: &RatingBlock, item_hashes: &[u64], split: &SplitParameters) -> Vec<SplitTime> {
    let (indices, times) = (block.indices(), block.timestamps());
    let mut ratings = Vec::new();
    let cut = |row| {
        let (user_hash, span) = (block.ids().hash64(row), block.span(row));
        let pairs = indices[span.clone()].iter().zip(&times[span]);
        ratings.clear();
        ratings.extend(pairs.map(|(&item, &time)| SplitTime {
            time,
            hash: pair_hash(user_hash, item_hashes[item as usize], split.seed),
        }));
        SplitTime::new(&mut ratings, split.test_ratio)
    };
    (0..block.rows()).map(cut).collect()
}
