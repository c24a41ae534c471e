//! Which pairs are held out: by a hash of the pair, or because a file names them.

use std::collections::HashMap;

use shoal_common::hash::{is_held_out, pair_hash};

/// How pairs are held out.
#[derive(Debug, Clone)]
pub(super) enum Split {
    /// By a hash of both ids and the seed.
    Ratio {
        /// Share held out, 0 to 1.
        ratio: f64,
        /// The job's seed.
        seed: u64,
    },
    /// Pairs that a file names, by the hash of their ids, with the rating given there.
    Given(HashMap<u64, f32>),
}

/// Seed of the pair hashes of [`Split::Given`]: any fixed number does.
const GIVEN_SEED: u64 = 0;

/// The key of a pair in [`Split::Given`].
pub(super) fn given_key(user_hash: u64, item_hash: u64) -> u64 {
    pair_hash(user_hash, item_hash, GIVEN_SEED)
}

impl Split {
    /// Whether ids have to be hashed at all.
    pub(super) fn holds_out_anything(&self) -> bool {
        match self {
            Self::Ratio { ratio, .. } => *ratio > 0.0,
            Self::Given(pairs) => !pairs.is_empty(),
        }
    }

    /// Whether the pair is kept out of training.
    pub(super) fn is_held_out(&self, user_hash: u64, item_hash: u64) -> bool {
        match self {
            Self::Ratio { ratio, seed } => is_held_out(pair_hash(user_hash, item_hash, *seed), *ratio),
            Self::Given(pairs) => pairs.contains_key(&given_key(user_hash, item_hash)),
        }
    }
}
