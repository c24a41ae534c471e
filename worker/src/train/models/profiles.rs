//! Profiles of the own users, made and asked batch by batch: memory is that of one batch and one shard's
//! vectors, and every batch reads all shards twice.

use std::{ops::Range, sync::Arc};

use rayon::prelude::*;
use shoal_common::store::Manifest;
use shoal_core::profile::weights;
use shoal_engine::{
    content::{ItemVectors, profile::Profiles},
    item_cf::Rated,
};
use shoal_proto::v1::ModelFolder;

use super::attempt::{ModelAttempt, RatedItems};
use crate::train::TrainError;

/// Bytes of a batch's profiles.
const BATCH_BYTES: usize = 128 * 1024 * 1024;

/// One user's profile against one shard.
pub(super) struct Profile<'a> {
    profiles: &'a Profiles,
    user: usize,
    /// Euclidean length of the profile.
    pub(super) norm: f64,
    /// What the user has rated.
    pub(super) rated: Rated<'a>,
    /// One per rated item.
    pub(super) weights: &'a [f32],
    /// The shard's items.
    pub(super) vectors: &'a ItemVectors,
    /// The global rows of the shard's items.
    pub(super) rows: &'a Range<u32>,
}

impl Profile<'_> {
    /// The row within the shard of a global row.
    pub(super) fn row_of(&self, item: u32) -> usize {
        (item - self.rows.start) as usize
    }

    /// The cosine with an item of the shard.
    pub(super) fn cosine(&self, item: u32) -> f32 {
        self.profiles.cosine(self.user, self.norm, self.vectors, self.row_of(item))
    }

    /// Those of the user's rated items that are of the shard, with their places among all.
    pub(super) fn rated_in_shard(&self) -> impl Iterator<Item = (usize, &u32)> {
        let range = span(self.rated.items, self.rows);
        range.clone().zip(&self.rated.items[range])
    }
}

/// Where the rows of a shard are among ascending global rows.
pub(super) fn span(items: &[u32], rows: &Range<u32>) -> Range<usize> {
    items.partition_point(|&item| item < rows.start)..items.partition_point(|&item| item < rows.end)
}

/// One user of a batch.
struct Member<U> {
    user: U,
    rated: RatedItems,
    weights: Vec<f32>,
}

impl ModelAttempt {
    /// Makes the profiles of users (`row` gives their own row) from the vectors in a folder, and calls `each` with
    /// every user and shard, shards in order. Users run on the threads of the pool.
    pub(super) async fn with_profiles<U: Send + Sync + 'static>(
        self: &Arc<Self>,
        folder: &ModelFolder,
        users: Vec<U>,
        row: fn(&U) -> usize,
        each: impl Fn(&mut U, &Profile<'_>) + Send + Sync + 'static,
    ) -> Result<Vec<U>, TrainError> {
        let manifest =
            Manifest::read(&self.context.job.store, &folder.path, &folder.manifest_checksum).await?;
        let first = self.vectors_of(&folder.path, &manifest, 0).await?;
        let (features, genome_width) = (first.feature_count(), first.genome_width());
        let batch_users = (BATCH_BYTES / (4 * (features + genome_width)).max(1)).max(1);
        let each = Arc::new(each);
        let mut done = Vec::with_capacity(users.len());
        let mut users = users.into_iter();
        loop {
            let batch: Vec<Member<U>> =
                users.by_ref().take(batch_users).map(|user| self.member(user, row)).collect();
            if batch.is_empty() {
                return Ok(done);
            }
            let profiles = Profiles::new(batch.len(), features, genome_width);
            let mut state = (batch, profiles);
            for shard in 0..self.items.shards.count() {
                let vectors = self.vectors_of(&folder.path, &manifest, shard).await?;
                let rows = self.items.shards.shard_rows(shard);
                let adding = self.context.job.compute.run(move || {
                    let (batch, mut profiles) = state;
                    profiles.add_shard(&vectors, rows.start, |user| {
                        let member = &batch[user];
                        let range = span(&member.rated.items, &rows);
                        (&member.rated.items[range.clone()], &member.weights[range])
                    });
                    (batch, profiles)
                });
                state = adding.await?;
            }
            let norms = Arc::new(state.1.norms());
            for shard in 0..self.items.shards.count() {
                let vectors = self.vectors_of(&folder.path, &manifest, shard).await?;
                let rows = self.items.shards.shard_rows(shard);
                let (each, norms) = (Arc::clone(&each), Arc::clone(&norms));
                let asking = self.context.job.compute.run(move || {
                    let (mut batch, profiles) = state;
                    batch.par_iter_mut().enumerate().for_each(|(user, member)| {
                        let rated = Rated { items: &member.rated.items, ratings: &member.rated.ratings };
                        let (norm, rows, weights) = (norms[user], &rows, &member.weights[..]);
                        let profile = Profile {
                            profiles: &profiles,
                            user,
                            norm,
                            rated,
                            weights,
                            vectors: &vectors,
                            rows,
                        };
                        each(&mut member.user, &profile);
                    });
                    (batch, profiles)
                });
                state = asking.await?;
            }
            done.extend(state.0.into_iter().map(|member| member.user));
        }
    }

    fn member<U>(&self, user: U, row: fn(&U) -> usize) -> Member<U> {
        let mut rated = RatedItems::default();
        self.known_of(row(&user), &mut rated);
        let weights = weights(&rated.ratings);
        Member { user, rated, weights }
    }
}
