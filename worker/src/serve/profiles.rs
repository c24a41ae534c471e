//! What an item shard of a content version predicts ratings from: the vectors of its items' features, by which items
//! are compared with each other too ([`super::likeness_data`]).
//!
//! A predicted rating is what is expected of user and item, and the cosine of item and profile times what a cosine
//! was learned to be worth: as the version was measured. Where user or item have no features, or the slope is nothing,
//! nothing is predicted.

use std::path::Path;

use shoal_core::profile::weights;
use shoal_engine::content::{ItemVectors, profile::Profiles};
use shoal_format::{model_parts::read_vectors, tensor_file::TensorFile};

use super::{error::LoadError, query_error::QueryError, rated_items::RatedItems};

/// The vectors of one shard's items.
#[derive(Debug)]
pub(super) struct FeatureVectors {
    vectors: ItemVectors,
    /// By how much a cosine of 1 raises a predicted rating.
    slope: f64,
}

/// The profile of a user or of a session, and its length.
#[derive(Debug)]
pub(super) struct Profile {
    profile: Profiles,
    norm: f64,
}

impl FeatureVectors {
    /// Reads the file and checks it; `path` is the object's, for errors. The shard has `rows` items.
    pub(super) fn open(file: &Path, path: &str, rows: usize, slope: f64) -> Result<Self, LoadError> {
        let vectors = TensorFile::map(file).and_then(|file| read_vectors(&file, rows));
        let vectors = vectors
            .map_err(|source| LoadError::Tensors { path: path.to_owned(), source: Box::new(source) })?;
        Ok(Self { vectors, slope })
    }

    /// An item's features, their values, and its genome, which is empty where it has none.
    pub(super) fn of(&self, row: usize) -> (&[u32], &[f32], &[f32]) {
        let (features, values) = self.vectors.sparse(row);
        (features, values, self.vectors.genome(row))
    }

    /// The part of a profile that the shard's items make, the first of which is the global row `first_row`.
    pub(super) fn part(&self, rated: &RatedItems, first_row: u32) -> Vec<f32> {
        let weights = weights(&rated.ratings);
        let place = |row: u32| rated.rows.partition_point(|rated| *rated < row);
        // Rows were checked to fit when the shard was loaded.
        let own = place(first_row)..place(first_row + self.vectors.len() as u32);
        let mut profile = Profiles::new(1, self.vectors.feature_count(), self.vectors.genome_width());
        profile.add_shard(&self.vectors, first_row, |_| (&rated.rows[own.clone()], &weights[own.clone()]));
        profile.into_values()
    }

    /// A profile that is the sum of all shards' parts.
    pub(super) fn profile(&self, values: &[f32]) -> Result<Profile, QueryError> {
        let (features, genome_width) = (self.vectors.feature_count(), self.vectors.genome_width());
        if values.len() != features + genome_width {
            let (found, width) = (values.len(), features + genome_width);
            return Err(QueryError::Profile { found, width });
        }
        let profile = Profiles::of_one(features, values.to_vec());
        let norm = profile.norms().into_iter().sum();
        Ok(Profile { profile, norm })
    }

    /// What is predicted of an item beyond what is expected of it.
    pub(super) fn exceeding(&self, row: usize, profile: &Profile) -> Option<f64> {
        let known = profile.norm > 0.0 && self.vectors.is_known(row) && self.slope != 0.0;
        let cosine = || profile.profile.cosine(0, profile.norm, &self.vectors, row);
        known.then(|| self.slope * f64::from(cosine()))
    }
}
