//! What is expected of anybody: biases of items and users, and how often items were rated.

use std::sync::Arc;

use rayon::prelude::*;
use shoal_common::store::{Manifest, PartKind, join, part};
use shoal_engine::popularity::baseline::{item_bias, user_bias};
use shoal_format::model_parts::{biases_bytes, read_biases};
use shoal_proto::v1::{ModelBaselines, ModelItems, ObjectEntry, Side};

use super::attempt::{ModelAttempt, RatedItems};
use crate::train::TrainError;

/// Biases and counts of all items, and the biases of the own users.
#[derive(Debug)]
pub(super) struct Baselines {
    /// Mean of the training ratings.
    pub(super) rating_mean: f64,
    /// By global item row.
    pub(super) item_biases: Vec<f32>,
    /// Training ratings, by global item row.
    pub(super) train_counts: Vec<u32>,
    /// By own user row; of those who are held out from what is folded in.
    pub(super) user_biases: Vec<f32>,
}

impl Baselines {
    /// What an own user is expected to rate any item before it is known which.
    pub(super) fn of_user(&self, row: usize) -> f64 {
        self.rating_mean + f64::from(self.user_biases[row])
    }

    /// What an own user is expected to rate an item.
    pub(super) fn expected(&self, row: usize, item: u32) -> f64 {
        self.of_user(row) + f64::from(self.item_biases[item as usize])
    }
}

impl ModelAttempt {
    /// Writes the biases and counts of the owned item shards.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn write_items(self: &Arc<Self>, step: ModelItems) -> Result<Vec<ObjectEntry>, TrainError> {
        let mut entries = Vec::new();
        for owned in &self.items.owned {
            let (attempt, rows) = (Arc::clone(self), owned.rows.clone());
            let counting = self.context.job.compute.run(move || {
                let bias = |row| item_bias(attempt.items.rating_rows().row(row).ratings, step.rating_mean);
                let biases: Vec<f32> = rows.clone().into_par_iter().map(bias).collect();
                (biases, attempt.items.train_counts(rows))
            });
            let (biases, counts) = counting.await?;
            let name = part(PartKind::Biases, Side::Items, owned.shard);
            let bytes = biases_bytes(&name, &owned.ids, &biases, &counts)?;
            let entry = self.context.job.store.put(&join(&step.path, &name), bytes).await?;
            entries.push(ObjectEntry { path: name, ..entry });
        }
        self.update(|state| state.rating_mean = step.rating_mean);
        Ok(entries)
    }

    /// Reads the items' biases and counts that all workers have written, and computes those of the own users.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub async fn read_baselines(self: &Arc<Self>, step: ModelBaselines) -> Result<(), TrainError> {
        let manifest = Manifest::read(&self.context.job.store, &step.path, "").await?;
        let (mut item_biases, mut train_counts) = (Vec::new(), Vec::new());
        for shard in 0..self.items.shards.count() {
            let entry = manifest.entry(&part(PartKind::Biases, Side::Items, shard))?;
            let file = self.read_part(&step.path, entry).await?;
            let (biases, counts) = read_biases(&file, self.items.shards.shard_rows(shard).len())?;
            item_biases.extend_from_slice(biases);
            train_counts.extend_from_slice(counts);
        }
        let attempt = Arc::clone(self);
        let rating_mean = self.rating_mean();
        let computing = self.context.job.compute.run(move || {
            let bias = |rated: &mut RatedItems, row| {
                attempt.known_of(row, rated);
                user_bias(&rated.items, &rated.ratings, rating_mean, &item_biases) as f32
            };
            let rows = 0..attempt.users.table.own_rows();
            let user_biases = rows.into_par_iter().map_init(RatedItems::default, bias).collect();
            Baselines { rating_mean, item_biases, train_counts, user_biases }
        });
        let baselines = Arc::new(computing.await?);
        self.update(|state| state.baselines = Some(baselines));
        Ok(())
    }
}
