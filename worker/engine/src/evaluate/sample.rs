//! Which users are measured.
//!
//! A user is of the sample when a hash of the id and the seed falls below the share. Neither the model nor who owns the
//! user plays a part, so that versions of one data set and split are compared over the same users.

use shoal_core::hash::{mix64, unit_interval};

/// A share of the users.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    share: f64,
    seed: u64,
}

impl Sample {
    /// The sample of every user.
    pub const ALL: Self = Self { share: 1.0, seed: 0 };

    /// About `share` of the users, 1 or more for all; the sample of a smaller share is a part of it.
    #[must_use]
    pub fn new(share: f64, seed: u64) -> Self {
        Self { share, seed }
    }

    /// Whether the user with this hash of the id is of the sample.
    #[must_use]
    pub fn has(&self, user_hash: u64) -> bool {
        self.share >= 1.0 || unit_interval(mix64(user_hash ^ mix64(self.seed))) < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_share_and_is_part_of_larger_ones() {
        let users: Vec<u64> = (0..10_000).map(mix64).collect();
        let of = |share: f64, seed: u64| -> Vec<u64> {
            let sample = Sample::new(share, seed);
            users.iter().copied().filter(|&user| sample.has(user)).collect()
        };
        let (tenth, third) = (of(0.1, 7), of(1.0 / 3.0, 7));
        assert!((tenth.len() as f64 - 1_000.0).abs() < 150.0, "{}", tenth.len());
        assert!(tenth.iter().all(|user| third.contains(user)));
        assert_ne!(tenth, of(0.1, 8));
        assert_eq!(of(1.0, 7), users);
        assert!(users.iter().all(|&user| Sample::ALL.has(user)));
    }
}
