//! Which pairs are held out: by a hash of the pair, or because a file names them.

use std::collections::{BTreeMap, HashSet};

use shoal_common::{
    compute::Compute,
    hash::{is_held_out, pair_hash},
    ids::{EntityId, IdKind},
};
use shoal_proto::v1::{DatasetInfo, DatasetSource, FileContent};

use super::TrainError;
use crate::dataset::{
    parse::Rules,
    row::{RatingRow, Row},
    source::{SourceFolder, inspect, rows::RowSink},
};

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
    /// The pairs that a file names, as keys.
    Given(HashSet<u64>),
}

/// Seed of the pair hashes of [`Test::Given`]: any fixed number does.
const GIVEN_SEED: u64 = 0;

/// A rating of a held-out file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub(super) user: EntityId,
    pub(super) item: EntityId,
    pub(super) rating: f32,
}

impl From<RatingRow<'_>> for Given {
    fn from(row: RatingRow<'_>) -> Self {
        Self { user: row.user.to_entity(), item: row.item.to_entity(), rating: row.rating }
    }
}

impl Split {
    /// Whether ids have to be hashed at all.
    pub(super) fn holds_out_anything(&self) -> bool {
        let test = match &self.test {
            Test::Ratio { ratio, .. } => *ratio > 0.0,
            Test::Given(keys) => !keys.is_empty(),
        };
        test || self.validation.is_some()
    }

    /// What becomes of the pair with these id hashes.
    pub(super) fn fate(&self, user_hash: u64, item_hash: u64) -> Fate {
        match (self.test.is_held_out(user_hash, item_hash), self.validation) {
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
    /// Whether the pair with these id hashes is kept out of training.
    fn is_held_out(&self, user_hash: u64, item_hash: u64) -> bool {
        match self {
            Self::Ratio { ratio, seed } => is_held_out(pair_hash(user_hash, item_hash, *seed), *ratio),
            Self::Given(keys) => keys.contains(&pair_hash(user_hash, item_hash, GIVEN_SEED)),
        }
    }

    /// Holds out the pairs of these ratings.
    pub(super) fn given(ratings: &[Given]) -> Self {
        let key = |rating: &Given| pair_hash(rating.user.hash64(), rating.item.hash64(), GIVEN_SEED);
        Self::Given(ratings.iter().map(key).collect())
    }
}

/// The ratings of a held-out file that `wanted` accepts. Lines that are no ratings are passed over: the file is
/// checked like any other source when it is imported.
pub(super) async fn read_given(
    uri: &str,
    options: &BTreeMap<String, String>,
    dataset: &DatasetInfo,
    compute: &Compute,
    wanted: impl Fn(&RatingRow<'_>) -> bool + Send + 'static,
) -> Result<Vec<Given>, TrainError> {
    let source = DatasetSource { uri: uri.to_owned(), ..DatasetSource::default() };
    let found = inspect(&source, options).await?;
    let (folder, _) = SourceFolder::open(uri, options)?;
    let kind = |kind| IdKind::from_proto(kind).unwrap_or(IdKind::Integer);
    let rules = Rules {
        user_id_kind: kind(dataset.user_id_kind()),
        item_id_kind: kind(dataset.item_id_kind()),
        rating_min: 0.0,
        rating_max: 0.0,
    };
    let mut sink = Wanted { wanted, ratings: Vec::new() };
    for file in found.files.iter().filter(|file| file.content() == FileContent::Ratings) {
        let whole = 0..file.length_bytes;
        sink = folder.read_range(file, rules, whole, compute, sink, |_| {}).await?.sink;
    }
    Ok(sink.ratings)
}

/// Keeps the ratings that are wanted.
struct Wanted<F> {
    wanted: F,
    ratings: Vec<Given>,
}

impl<F: Fn(&RatingRow<'_>) -> bool + Send + 'static> RowSink for Wanted<F> {
    type Error = TrainError;

    fn take(&mut self, row: &Row<'_>, _position: u64) -> Result<(), TrainError> {
        if let Row::Rating(row) = row
            && (self.wanted)(row)
        {
            self.ratings.push(Given::from(*row));
        }
        Ok(())
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
            match (plain.fate(user, item), nested.fate(user, item)) {
                (Fate::HeldOut, Fate::LeftOut) | (Fate::Trained, Fate::Trained) => {}
                (Fate::Trained, Fate::HeldOut) => held += 1,
                other => panic!("{other:?}"),
            }
        }
        // Three tenths of four fifths.
        assert!((2_200..2_600).contains(&held), "{held}");
    }
}
