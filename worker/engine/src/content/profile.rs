//! What users like, as vectors of features, and how items answer to them.
//!
//! A profile is the mean of the vectors of the items that a user has rated, each weighted by its rating less
//! the user's mean ([`shoal_core::profile::weights`]). Items are compared with profiles by cosine, so that the sum stands for the
//! mean. It runs per item shard in row order, then in shard order: it does not matter who holds which shard.
//!
//! Profiles predict ratings. Lists are better ranked by the similar items of what the user has rated
//! ([`crate::item_cf::ListIndex`]), which do not mix tastes that have nothing to do with each other.

use rayon::prelude::*;

use super::ItemVectors;
use crate::score::dot;

/// Profiles of some users: dense rows of the sparse blocks' features, then the genome tags.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles {
    users: usize,
    features: usize,
    width: usize,
    /// The profiles, users × width, row-major.
    values: Vec<f32>,
}

impl Profiles {
    /// Profiles of nothing yet, of users of items with so many features and genome tags:
    /// 4 · users · (features + genome tags) bytes.
    #[must_use]
    pub fn new(users: usize, features: usize, genome_width: usize) -> Self {
        let width = features + genome_width;
        Self { users, features, width, values: vec![0.0; users * width] }
    }

    /// The profile of one user whose sums are known: as many features, then the genome tags.
    #[must_use]
    pub fn of_one(features: usize, values: Vec<f32>) -> Self {
        Self { users: 1, features, width: values.len(), values }
    }

    /// Users × (features + genome tags).
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Adds a shard's part: `rated` gives for each user those items of the shard that they have rated (global
    /// rows, ascending, from `first_row` of the shard's first), and the weights. Users run on the threads of the
    /// current rayon pool.
    ///
    /// # Panics
    /// When an item is not of the shard.
    pub fn add_shard<'a>(
        &mut self,
        vectors: &ItemVectors,
        first_row: u32,
        rated: impl Fn(usize) -> (&'a [u32], &'a [f32]) + Sync,
    ) {
        let features = self.features;
        // Without any feature there is nothing to add, and no chunk to walk.
        let users = self.values.par_chunks_mut(self.width.max(1)).enumerate();
        users.for_each_init(Vec::new, |part: &mut Vec<f32>, (user, profile)| {
            part.clear();
            part.resize(profile.len(), 0.0);
            let (sparse, genome) = part.split_at_mut(features);
            let (items, weights) = rated(user);
            for (&item, &weight) in items.iter().zip(weights) {
                let row = (item - first_row) as usize;
                let (at, values) = vectors.sparse(row);
                for (&feature, value) in at.iter().zip(values) {
                    sparse[feature as usize] += weight * value;
                }
                for (sum, value) in genome.iter_mut().zip(vectors.genome(row)) {
                    *sum += weight * value;
                }
            }
            for (sum, value) in profile.iter_mut().zip(part.iter()) {
                *sum += value;
            }
        });
    }

    fn of(&self, user: usize) -> &[f32] {
        &self.values[user * self.width..][..self.width]
    }

    /// The length of each profile.
    #[must_use]
    pub fn norms(&self) -> Vec<f64> {
        let square = |user| self.of(user).iter().map(|&value| f64::from(value) * f64::from(value));
        (0..self.users).into_par_iter().map(|user| square(user).sum::<f64>().sqrt()).collect()
    }

    /// Cosine of a profile with an item, blocks that the item has not counting as unlike; 0 where either is
    /// empty. `norm` is the profile's, of [`Profiles::norms`].
    ///
    /// # Panics
    /// When there is no such user or item.
    #[must_use]
    pub fn cosine(&self, user: usize, norm: f64, vectors: &ItemVectors, item: usize) -> f32 {
        if norm == 0.0 {
            return 0.0;
        }
        let (sparse, genome) = self.of(user).split_at(self.features);
        let (features, values) = vectors.sparse(item);
        let pairs = features.iter().zip(values);
        let product: f32 = pairs.map(|(&feature, value)| value * sparse[feature as usize]).sum();
        let of_item = vectors.genome(item);
        let product = if of_item.is_empty() { product } else { product + dot(genome, of_item) };
        (f64::from(product) / norm) as f32
    }
}

/// The cosine of a profile with one of the items that it is made of, as it would be without that item:
/// what a prediction is learned from, since an item always answers to a profile that it is part of.
/// `weight` is the item's in the profile, `square` its vector's squared length. 0 when nothing else is left.
#[must_use]
pub fn cosine_without(cosine: f32, norm: f64, weight: f32, square: f64) -> f64 {
    let (product, weight) = (f64::from(cosine) * norm, f64::from(weight));
    let left = norm * norm - 2.0 * weight * product + weight * weight * square;
    // What rounding leaves of an empty profile is not a direction.
    if left > 1e-6 * norm * norm { (product - weight * square) / left.sqrt() } else { 0.0 }
}

/// Sums for the slope by which a cosine moves the predicted rating: least squares of what ratings exceed by
/// over cosines. A predicted rating is what is expected of anybody + slope · cosine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SlopeSums {
    /// Σ cosine · (rating − expected).
    pub product: f64,
    /// Σ cosine², over the same ratings.
    pub square: f64,
}

impl SlopeSums {
    /// Adds a training rating: `exceeding` is the rating less what is expected of anybody.
    pub fn add(&mut self, cosine: f64, exceeding: f64) {
        self.product += cosine * exceeding;
        self.square += cosine * cosine;
    }

    /// Adds the sums of other users. Sums of shards are added in shard order.
    pub fn merge(&mut self, other: &Self) {
        self.product += other.product;
        self.square += other.square;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_core::hash::{mix64, unit_interval};

    use super::*;
    use crate::content::Vector;

    const FEATURES: usize = 7;
    const WIDTH: usize = 5;

    /// Items with vectors of length 1 or less, some without genome, some without anything.
    fn shard(items: usize, seed: u64) -> ItemVectors {
        let draw = |item: usize, at: usize| unit_interval(mix64(seed ^ (item * 100 + at) as u64)) as f32;
        let mut vectors = ItemVectors::new(FEATURES, WIDTH);
        for item in 0..items {
            let some = (0..FEATURES).filter(|&feature| draw(item, feature) < 0.4);
            let mut features: Vec<(u32, f32)> =
                some.map(|feature| (feature as u32, draw(item, 20 + feature))).collect();
            let mut genome: Vec<f32> = (0..WIDTH).map(|at| draw(item, 40 + at) - 0.5).collect();
            if draw(item, 90) < 0.5 {
                genome.clear();
            }
            let square: f32 = features.iter().map(|f| f.1 * f.1).chain(genome.iter().map(|v| v * v)).sum();
            let length = square.sqrt() * (1.0 + draw(item, 91));
            features.iter_mut().for_each(|feature| feature.1 /= length);
            genome.iter_mut().for_each(|value| *value /= length);
            vectors.push(&Vector { features, genome });
        }
        vectors
    }

    fn dense(vectors: &ItemVectors, item: usize) -> Vec<f64> {
        let mut dense = vec![0.0; FEATURES + WIDTH];
        let (features, values) = vectors.sparse(item);
        features.iter().zip(values).for_each(|(&feature, &value)| dense[feature as usize] = f64::from(value));
        vectors
            .genome(item)
            .iter()
            .enumerate()
            .for_each(|(at, &value)| dense[FEATURES + at] = f64::from(value));
        dense
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    /// With the item's length taken for 1.
    fn cosine(profile: &[f64], item: &[f64]) -> f64 {
        let norm = dot(profile, profile).sqrt();
        if norm > 1e-9 { dot(profile, item) / norm } else { 0.0 }
    }

    /// The profile by the book, without one of the items.
    fn naive(shards: &[ItemVectors; 2], rated: &[(usize, u32, f32)], without: Option<usize>) -> Vec<f64> {
        let mut profile = vec![0.0; FEATURES + WIDTH];
        for (at, &(shard, row, weight)) in rated.iter().enumerate() {
            if Some(at) != without {
                let vector = dense(&shards[shard], row as usize);
                profile.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(weight) * value);
            }
        }
        profile
    }

    proptest! {
        #[test]
        fn cosines_match_the_definition_with_and_without_an_item(
            seed: u64,
            users in prop::collection::vec(
                prop::collection::btree_map((0_usize..2, 0_u32..12), -2.0_f32..2.0, 0..8), 0..9),
        ) {
            let shards = [shard(12, seed), shard(12, !seed)];
            let users: Vec<Vec<(usize, u32, f32)>> =
                users.into_iter().map(|user| user.into_iter().map(|((s, row), w)| (s, row, w)).collect()).collect();
            let mut profiles = Profiles::new(users.len(), FEATURES, WIDTH);
            for (at, vectors) in shards.iter().enumerate() {
                let of_shard: Vec<(Vec<u32>, Vec<f32>)> = users
                    .iter()
                    .map(|user| user.iter().filter(|entry| entry.0 == at).map(|entry| (entry.1 + 100, entry.2)).unzip())
                    .collect();
                profiles.add_shard(vectors, 100, |user| (&of_shard[user].0, &of_shard[user].1));
            }
            let norms = profiles.norms();
            for (at, vectors) in shards.iter().enumerate() {
                for (user, rated) in users.iter().enumerate() {
                    let exact = naive(&shards, rated, None);
                    // Rounding of a profile that all but cancels out is no direction.
                    prop_assume!(norms[user] == 0.0 || norms[user] > 1e-2);
                    for item in 0..12 {
                        let found = f64::from(profiles.cosine(user, norms[user], vectors, item));
                        let expected = cosine(&exact, &dense(vectors, item));
                        prop_assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
                    }
                    for (place, &(shard, row, weight)) in rated.iter().enumerate().filter(|entry| entry.1.0 == at) {
                        let exact = naive(&shards, rated, Some(place));
                        let length = exact.iter().map(|value| value * value).sum::<f64>().sqrt();
                        if !vectors.is_known(row as usize) || length < 0.05 * norms[user].max(1.0) {
                            continue;
                        }
                        let with = profiles.cosine(user, norms[user], vectors, row as usize);
                        let item = dense(&shards[shard], row as usize);
                        let found = cosine_without(with, norms[user], weight, dot(&item, &item));
                        let expected = cosine(&exact, &item);
                        prop_assert!((found - expected).abs() < 1e-2, "{found} for {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_item_that_is_the_whole_profile_leaves_nothing() {
        assert_eq!(cosine_without(1.0, 2.5, 2.5, 1.0), 0.0);
    }

    #[test]
    fn what_rounding_leaves_of_an_empty_profile_is_no_direction() {
        // The cosine of an item with itself, rounded down: what is left is a ten-millionth of the profile.
        for (cosine, weight) in [(1.0 - f32::EPSILON, 2.5), (f32::EPSILON - 1.0, -2.5)] {
            assert_eq!(cosine_without(cosine, 2.5, weight, 1.0), 0.0);
        }
        // A thousandth of it is one: the rest of the profile is at a right angle to the item.
        let cosine = (1.0_f64 / (1.0_f64 + 1e-3).sqrt()) as f32;
        assert!(cosine_without(cosine, (1.0_f64 + 1e-3).sqrt(), 1.0, 1.0).abs() < 1e-3);
    }
}
