//! Writes what the steps have made, in the layout of a model's folder.

use std::sync::Arc;

use bytes::Bytes;
use shoal_common::store::{PartKind, join, part};
use shoal_format::{
    model_parts::{biases_bytes, neighbours_bytes, vectors_bytes},
    tensor_file::TensorFileError,
};
use shoal_proto::v1::{ModelWrite, ObjectEntry, Side};

use super::attempt::ModelAttempt;
use crate::train::{TrainError, training_side::OwnedShard};

impl ModelAttempt {
    /// Writes the parts of every owned shard: biases of both sides, and of items their neighbours and vectors
    /// where there are any. Entries are relative to the folder.
    ///
    /// # Errors
    /// When there are no baselines yet, or the store cannot be written.
    pub async fn write(self: &Arc<Self>, step: ModelWrite) -> Result<Vec<ObjectEntry>, TrainError> {
        // Whoever needed the tiles has their weights.
        self.let_tiles_go();
        let mut entries = Vec::new();
        for (side, kind) in [
            (Side::Users, PartKind::Biases),
            (Side::Items, PartKind::Biases),
            (Side::Items, PartKind::Neighbours),
            (Side::Items, PartKind::Vectors),
        ] {
            let owned = if side == Side::Items { &self.items.owned } else { &self.users.owned };
            for (at, shard) in owned.iter().enumerate() {
                let name = part(kind, side, shard.shard);
                let (attempt, named) = (Arc::clone(self), name.clone());
                let making = self.context.job.compute.run(move || attempt.part_bytes(side, kind, at, &named));
                if let Some(bytes) = making.await?? {
                    let entry = self.context.job.store.put(&join(&step.path, &name), bytes).await?;
                    entries.push(ObjectEntry { path: name, ..entry });
                }
            }
        }
        Ok(entries)
    }

    /// A part of the owned shard at `at`; `None` where the model has none of the kind.
    fn part_bytes(
        &self,
        side: Side,
        kind: PartKind,
        at: usize,
        path: &str,
    ) -> Result<Option<Bytes>, TrainError> {
        let training = if side == Side::Items { &self.items } else { &self.users };
        let owned = &training.owned[at];
        let bytes = match kind {
            PartKind::Biases => Some(self.biases(side, owned, path)?),
            PartKind::Neighbours => {
                let neighbours = self.neighbours();
                neighbours.get(at).map(|lists| neighbours_bytes(path, &owned.ids, lists))
            }
            PartKind::Vectors => {
                self.vectors().get(at).map(|vectors| vectors_bytes(path, &owned.ids, vectors))
            }
            PartKind::Ratings
            | PartKind::Factors
            | PartKind::Totals
            | PartKind::Candidates
            | PartKind::Cuts => None,
        };
        Ok(bytes.transpose()?)
    }

    fn biases(
        &self,
        side: Side,
        owned: &OwnedShard,
        path: &str,
    ) -> Result<Result<Bytes, TensorFileError>, TrainError> {
        let baselines = self.baselines()?;
        if side == Side::Items {
            let rows = self.items.shards.shard_rows(owned.shard);
            let rows = rows.start as usize..rows.end as usize;
            let biases = &baselines.item_biases[rows.clone()];
            return Ok(biases_bytes(path, &owned.ids, biases, &baselines.train_counts[rows]));
        }
        let counts = self.users.known_counts(owned.rows.clone());
        Ok(biases_bytes(path, &owned.ids, &baselines.user_biases[owned.rows.clone()], &counts))
    }
}
