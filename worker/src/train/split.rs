//! Which pairs are held out: by a hash of the pair, because they are a user's newest, or because a file names them.

use shoal_common::hash::{is_held_out, pair_hash};

use super::cuts::Cuts;

/// What becomes of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is trained on.
    Trained,
    /// It is measured on.
    HeldOut,
    /// Neither: it is held out from those who learn on a part of the training pairs.
    LeftOut,
}

/// What becomes of every pair.
#[derive(Debug, Clone)]
pub(super) struct Split {
    pub(super) test: Test,
    /// Of the training pairs, the share that is measured on instead of the test pairs, and the seed of its
    /// hashes.
    pub(super) validation: Option<(f64, u64)>,
}

/// How pairs are held out for the test.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// By a hash of both ids and the seed.
    Ratio {
        /// Share held out, 0 to 1.
        ratio: f64,
        /// The job's seed.
        seed: u64,
    },
    /// Each user's newest.
    Newest(Cuts),
    /// The pairs that a file names.
    Given,
}

impl Split {
    /// Whether ids have to be hashed to know a pair's fate.
    pub(super) fn needs_hashes(&self) -> bool {
        let test = match &self.test {
            Test::Ratio { ratio, .. } => *ratio > 0.0,
            Test::Newest(_) => true,
            Test::Given => false,
        };
        test || self.validation.is_some()
    }

    /// What becomes of the pair with these id hashes, `named` if a held-out file names it or it is
    /// behind its user's cut.
    pub(super) fn fate(&self, user_hash: u64, item_hash: u64, named: bool) -> Fate {
        match (named || self.test.is_held_out(user_hash, item_hash), self.validation) {
            (true, Some(_)) => Fate::LeftOut,
            (true, None) => Fate::HeldOut,
            (false, Some((ratio, seed))) if is_held_out(pair_hash(user_hash, item_hash, seed), ratio) => {
                Fate::HeldOut
            }
            (false, _) => Fate::Trained,
        }
    }
}

impl Test {
    /// Whether the hashes keep the pair out of training.
    fn is_held_out(&self, user_hash: u64, item_hash: u64) -> bool {
        match self {
            Self::Ratio { ratio, seed } => is_held_out(pair_hash(user_hash, item_hash, *seed), *ratio),
            Self::Newest(_) | Self::Given => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_is_cut_out_of_what_is_trained_on() {
        let test = Test::Ratio { ratio: 0.2, seed: 5 };
        let plain = Split { test: test.clone(), validation: None };
        let nested = Split { test, validation: Some((0.3, 9)) };
        let mut held = 0;
        for pair in 0..10_000_u64 {
            let (user, item) = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15), pair ^ 0x5bd1_e995);
            match (plain.fate(user, item, false), nested.fate(user, item, false)) {
                (Fate::HeldOut, Fate::LeftOut) | (Fate::Trained, Fate::Trained) => {}
                (Fate::Trained, Fate::HeldOut) => held += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((plain.fate(1, 2, true), nested.fate(1, 2, true)), (Fate::HeldOut, Fate::LeftOut));
        // Three tenths of four fifths.
        assert!((2_200..2_600).contains(&held), "{held}");
    }
}
