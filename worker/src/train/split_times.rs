//! From when on each user's ratings are held out, as a value that is written and read.

use bytes::Bytes;
use shoal_common::store::{Manifest, PartKind, Store, part};
use shoal_core::hash::pair_hash;
use shoal_format::tensor_file::{TensorFile, TensorFileError, TensorWriter};
use shoal_proto::v1::Side;

use super::error::TrainError;
use crate::exchange::routing::SideShards;

const TIMES: &str = "times";
const HASHES: &str = "hashes";

/// A user's ratings from here on are held out: by time, then by the hash of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SplitTime {
    /// Seconds since the epoch.
    pub(super) time: i64,
    pub(super) hash: u64,
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

    /// Cuts off the newest `ratio` of a user's ratings, rounded to the nearest number and never all of them. The
    /// ratings are put in another order.
    pub(super) fn new(ratings: &mut [Self], ratio: f64) -> Self {
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

/// A part of cuts: `times` i64[rows] and `hashes` u64[rows].
pub(super) fn cuts_bytes(path: &str, cuts: &[SplitTime]) -> Result<Bytes, TensorFileError> {
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
