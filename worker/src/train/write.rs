//! The owned shards' factors as parts, which [`super::factor_part`] describes.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::store::{PartKind, join, part};
use shoal_format::tensor_file::TensorFileError;
use shoal_proto::v1::{ObjectEntry, Objective, Side};

use super::{attempt::TrainAttempt, error::TrainError, factor_part::FactorValues, training_side::OwnedShard};

/// Parts that are written at once: to write one durably is mostly waiting for the disk.
const PARTS_AT_ONCE: usize = 4;

impl TrainAttempt {
    /// Writes the parts of every owned shard of both sides below `path`; entries are relative to it. Users who are held
    /// out are folded in before.
    ///
    /// # Errors
    /// When a user cannot be folded in, or the store cannot be written.
    pub async fn write(self: &Arc<Self>, path: &str) -> Result<Vec<ObjectEntry>, TrainError> {
        let attempt = Arc::clone(self);
        self.context.job.compute.run(move || attempt.fold_in_held_out()).await??;
        let shards = [Side::Users, Side::Items]
            .into_iter()
            .flat_map(|side| (0..self.side(side).owned.len()).map(move |at| (side, at)));
        let writing: Vec<_> = shards.map(|(side, at)| self.write_part(path, side, at)).collect();
        stream::iter(writing).buffered(PARTS_AT_ONCE).try_collect().await
    }

    async fn write_part(
        self: &Arc<Self>,
        folder: &str,
        side: Side,
        at: usize,
    ) -> Result<ObjectEntry, TrainError> {
        let name = part(PartKind::Factors, side, self.side(side).owned[at].shard);
        let (attempt, named) = (Arc::clone(self), name.clone());
        let bytes = self.context.job.compute.run(move || attempt.part_bytes(side, at, &named)).await??;
        let entry = self.context.job.store.put(&join(folder, &name), bytes).await?;
        Ok(ObjectEntry { path: name, ..entry })
    }

    fn part_bytes(&self, side: Side, at: usize, path: &str) -> Result<Bytes, TensorFileError> {
        let training = self.side(side);
        let OwnedShard { rows, ids, .. } = &training.owned[at];
        let rank = self.settings().rank;
        let factors = self.factors(side);
        let counts = training.known_counts(rows.clone());
        let widths = self.settings().widths();
        let stored = |objective, width: usize| &factors.of(objective)[rows.start * width..rows.end * width];
        let (mut rating, mut biases) = (Vec::new(), Vec::new());
        for &(objective, width) in widths.iter().filter(|(objective, _)| *objective == Objective::Rating) {
            rating.reserve_exact(rows.len() * rank);
            for row in stored(objective, width).chunks_exact(width) {
                rating.extend_from_slice(&row[..rank]);
                biases.push(if width > rank { row[rank] } else { 0.0 });
            }
        }
        let width_of = |wanted: Objective| widths.iter().find(|(objective, _)| *objective == wanted);
        let values = FactorValues {
            ids,
            rank,
            ranking: width_of(Objective::Ranking).map(|&(objective, width)| stored(objective, width)),
            rating: width_of(Objective::Rating).map(|_| (&rating[..], &biases[..])),
            train_counts: &counts,
        };
        values.to_bytes(path)
    }
}
