//! Which pairs are held out: by a hash of the pair, because they are a user's newest, because their user is held out, or
//! because a file names them.

use shoal_core::hash::{is_held_out, is_held_out_user, mix64, pair_hash, unit_interval};

use super::split_times::SplitTimes;

/// What becomes of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is trained on.
    Trained,
    /// It is measured on.
    HeldOut,
    /// It is not trained on, and known when its user is measured.
    FoldedIn,
    /// Neither: it is held out from those who learn on a part of the training pairs.
    LeftOut,
    /// Neither: its user takes no part, though what they did may be known.
    Passed,
}

/// How weights are learned on a part of the training pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Validation {
    /// Of the training pairs, the share that is measured on instead of the test pairs.
    pub(super) ratio: f64,
    /// Of the pairs' hashes.
    pub(super) seed: u64,
    /// Share of the users whose pairs take part, by a hash of the id.
    pub(super) user_share: f64,
}

/// What becomes of every pair.
#[derive(Debug, Clone)]
pub(super) struct Split {
    pub(super) test: Test,
    /// Set where a part of the training pairs is measured on instead of the test pairs.
    pub(super) validation: Option<Validation>,
}

/// Strong generalisation (Liang et al. 2018): some users are held out entirely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HeldOutUsers {
    /// Share of the users, by a hash of the id.
    pub(super) share: f64,
    /// Of the pairs of each, the share that is measured on, by a hash of the pair.
    pub(super) ratio: f64,
    /// Seed of both hashes.
    pub(super) seed: u64,
}

impl HeldOutUsers {
    /// Whether the user with this hash of the id is held out.
    pub(super) fn has(&self, user_hash: u64) -> bool {
        is_held_out_user(user_hash, self.share, self.seed)
    }

    /// What becomes of a pair of a user who is held out.
    fn fate(&self, user_hash: u64, item_hash: u64) -> Fate {
        let is_measured = is_held_out(pair_hash(user_hash, item_hash, self.seed), self.ratio);
        if is_measured { Fate::HeldOut } else { Fate::FoldedIn }
    }
}

/// How pairs are held out for the test.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// By a hash of both ids and the seed.
    Ratio {
        /// Share held out, 0 to 1.
        ratio: f64,
        /// Seed of the hash.
        seed: u64,
    },
    /// The newest pairs of each user: those from the user's split time on.
    Newest(SplitTimes),
    /// A share of the pairs of users who are held out.
    OfUsers(HeldOutUsers),
    /// The pairs that a file names.
    Given,
}

impl Split {
    /// Whether ids have to be hashed to know a pair's fate.
    pub(super) fn needs_hashes(&self) -> bool {
        let test = match &self.test {
            Test::Ratio { ratio, .. } => *ratio > 0.0,
            Test::Newest(_) | Test::OfUsers(_) => true,
            Test::Given => false,
        };
        test || self.validation.is_some()
    }

    /// The users who are held out, where some are.
    pub(super) fn held_out_users(&self) -> Option<&HeldOutUsers> {
        match &self.test {
            Test::OfUsers(users) => Some(users),
            Test::Ratio { .. } | Test::Newest(_) | Test::Given => None,
        }
    }

    /// What becomes of the pair with these id hashes, `named` if a held-out file names it or it is
    /// behind its user's cut.
    pub(super) fn fate(&self, user_hash: u64, item_hash: u64, named: bool) -> Fate {
        if let Some(users) = self.held_out_users().filter(|users| users.has(user_hash)) {
            // Whoever learns on a part of the training pairs learns of these users nothing.
            return if self.validation.is_some() { Fate::LeftOut } else { users.fate(user_hash, item_hash) };
        }
        let of_test = named || self.test.is_held_out(user_hash, item_hash);
        match self.validation {
            None if of_test => Fate::HeldOut,
            None => Fate::Trained,
            Some(_) if of_test => Fate::LeftOut,
            Some(validation) if !takes_part(user_hash, validation.user_share) => Fate::Passed,
            Some(Validation { ratio, seed, .. }) => {
                let held_out = is_held_out(pair_hash(user_hash, item_hash, seed), ratio);
                if held_out { Fate::HeldOut } else { Fate::Trained }
            }
        }
    }
}

/// Whether a user is one of this share of all. Of two shares the smaller one's users are among the larger one's.
pub(super) fn takes_part(user_hash: u64, share: f64) -> bool {
    unit_interval(mix64(user_hash)) < share
}

impl Test {
    /// Whether the hashes keep the pair out of training.
    fn is_held_out(&self, user_hash: u64, item_hash: u64) -> bool {
        match self {
            Self::Ratio { ratio, seed } => is_held_out(pair_hash(user_hash, item_hash, *seed), *ratio),
            Self::Newest(_) | Self::OfUsers(_) | Self::Given => false,
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
        let validation = |user_share| Some(Validation { ratio: 0.3, seed: 9, user_share });
        let nested = Split { test: test.clone(), validation: validation(1.0) };
        let sampled = Split { test, validation: validation(0.4) };
        let mut held = 0;
        for pair in 0..10_000_u64 {
            let (user, item) = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15), pair ^ 0x5bd1_e995);
            // Whoever takes part does so with the same pairs, and nobody else's test pairs are known.
            match (takes_part(user, 0.4), nested.fate(user, item, false)) {
                (true, fate) | (false, fate @ Fate::LeftOut) => {
                    assert_eq!(sampled.fate(user, item, false), fate);
                }
                (false, _) => assert_eq!(sampled.fate(user, item, false), Fate::Passed),
            }
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

    #[test]
    fn of_a_user_who_is_held_out_nothing_is_trained_on_or_learned_from() {
        let users = HeldOutUsers { share: 0.1, ratio: 0.2, seed: 5 };
        let plain = Split { test: Test::OfUsers(users), validation: None };
        let validation = Some(Validation { ratio: 0.3, seed: 9, user_share: 1.0 });
        let nested = Split { test: Test::OfUsers(users), validation };
        let mut counts = [0_u32; 3];
        for pair in 0..40_000_u64 {
            let (user, item) = (mix64(pair / 20), mix64(pair ^ 0x5bd1_e995));
            let fate = plain.fate(user, item, false);
            let of_validation = nested.fate(user, item, false);
            match (users.has(user), fate, of_validation) {
                (true, Fate::HeldOut, Fate::LeftOut) => counts[0] += 1,
                (true, Fate::FoldedIn, Fate::LeftOut) => counts[1] += 1,
                (false, Fate::Trained, Fate::Trained | Fate::HeldOut) => counts[2] += 1,
                other => panic!("{other:?}"),
            }
        }
        let [held, folded, trained] = counts;
        assert!((600..1_000).contains(&held) && (2_600..3_800).contains(&folded), "{held}, {folded}");
        assert!((35_000..37_000).contains(&trained), "{trained}");
    }
}
