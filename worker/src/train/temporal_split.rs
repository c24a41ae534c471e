//! Where each user's held-out ratings begin, when the newest are held out.
//!
//! The owner of a user sees all of the user's ratings and finds the cut; the owners of items, who see only what their
//! items were given, read the cuts of all users before they load. So both sides agree on every pair, whoever owns
//! what, and of a user sixteen bytes travel. Ratings of one second are told apart by a hash of the pair: people rate
//! whole pages at a time, and the order of ids must not decide what is measured.

use bytes::Bytes;
use rayon::prelude::*;
use shoal_common::store::{LocalCache, Manifest, PartKind, Store, join, part};
use shoal_core::hash::pair_hash;
use shoal_format::{
    blocks::RatingBlock,
    tensor_file::{TensorFile, TensorFileError, TensorWriter},
};
use shoal_proto::v1::{ObjectEntry, Side, SplitCuts, SplitCutsDone, SplitParameters};

use super::{
    TrainContext, TrainError,
    load_sides::{Source, position_of, side_shards},
};
use crate::exchange::routing::SideShards;

const TIMES: &str = "times";
const HASHES: &str = "hashes";

/// A user's ratings from here on are held out: by time, then by the hash of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SplitTime {
    /// Seconds since the epoch.
    time: i64,
    hash: u64,
}

/// The split times of all users.
#[derive(Debug, Clone)]
pub(super) struct SplitTimes {
    /// The split time of each user, by global row.
    users: Vec<SplitTime>,
    seed: u64,
}

impl SplitTime {
    /// After every rating there can be.
    const NEVER: Self = Self { time: i64::MAX, hash: u64::MAX };

    /// SplitTimes off the newest `ratio` of a user's ratings, rounded to the nearest number and never all of them. The
    /// ratings are put in another order.
    fn new(ratings: &mut [Self], ratio: f64) -> Self {
        let held_out = (ratings.len() as f64 * ratio).round() as usize;
        match held_out.min(ratings.len().saturating_sub(1)) {
            0 => Self::NEVER,
            held_out => *ratings.select_nth_unstable(ratings.len() - held_out).1,
        }
    }
}

impl SplitTimes {
    /// Whether a rating is held out, from the user's global row, its time in seconds and the hashes of both ids.
    pub(super) fn hold_out(&self, user: u32, time: i64, user_hash: u64, item_hash: u64) -> bool {
        SplitTime { time, hash: pair_hash(user_hash, item_hash, self.seed) } >= self.users[user as usize]
    }

    /// Whether a time in seconds is that of the user's first held-out rating or later, from the user's global row.
    pub(super) fn is_behind(&self, user: u32, time: i64) -> bool {
        time >= self.users[user as usize].time
    }

    /// Reads what all workers have written below `path`, about the users of these shards.
    pub(super) async fn read(
        store: &Store,
        path: &str,
        users: &SideShards,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let manifest = Manifest::read(store, path, "").await?;
        let mut cuts = Vec::with_capacity(users.rows() as usize);
        for shard in 0..users.count() {
            let entry = manifest.entry(&part(PartKind::Cuts, Side::Users, shard))?;
            let bytes = store.get_verified(path, entry).await?;
            let file = TensorFile::from_bytes(&entry.path, &bytes)?;
            let (times, hashes) = (file.vector::<i64>(TIMES)?, file.vector::<u64>(HASHES)?);
            let rows = users.shard_rows(shard).len();
            if (times.len(), hashes.len()) != (rows, rows) {
                return Err(file
                    .tensor_error(TIMES, format!("there is not one for each of {rows} rows"))
                    .into());
            }
            cuts.extend(times.iter().zip(hashes).map(|(&time, &hash)| SplitTime { time, hash }));
        }
        Ok(Self { users: cuts, seed })
    }
}

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
    let source = Source::open(context, &cache, &dataset).await?;
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

/// A part of cuts: `times` i64[rows] and `hashes` u64[rows].
fn cuts_bytes(path: &str, cuts: &[SplitTime]) -> Result<Bytes, TensorFileError> {
    let (times, hashes): (Vec<i64>, Vec<u64>) = cuts.iter().map(|cut| (cut.time, cut.hash)).unzip();
    let mut writer = TensorWriter::new();
    writer.add(TIMES, &[times.len()], &times);
    writer.add(HASHES, &[hashes.len()], &hashes);
    writer.to_bytes(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An item, and by what its rating is cut.
    type Rating = (usize, SplitTime);

    proptest! {
        #[test]
        fn the_newest_ratings_are_cut_off_and_no_others(
            // Few times, so that many are alike; hashes of the pairs of one user differ.
            times in prop::collection::vec(-3_i64..4, 0..60),
            ratio in 0.0_f64..1.0,
            seed: u64,
        ) {
            let keys = times.iter().enumerate().map(|(item, &time)| {
                SplitTime { time, hash: pair_hash(1, item as u64, seed) }
            });
            let keys: Vec<SplitTime> = keys.collect();
            let cut = SplitTime::new(&mut keys.clone(), ratio);
            let cuts = SplitTimes { users: vec![cut], seed };
            let (held_out, trained): (Vec<Rating>, Vec<Rating>) = keys
                .into_iter()
                .enumerate()
                .partition(|&(item, key)| cuts.hold_out(0, key.time, 1, item as u64));
            let share = (times.len() as f64 * ratio).round() as usize;
            prop_assert_eq!(held_out.len(), share.min(times.len().saturating_sub(1)));
            prop_assert!(times.is_empty() || !trained.is_empty());
            for (_, older) in &trained {
                prop_assert!(held_out.iter().all(|(_, newer)| older.time <= newer.time));
            }
        }
    }
}
