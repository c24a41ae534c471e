//! Which pairs are held out: by a hash of the pair, or because a file names them.

use std::collections::{BTreeMap, HashSet};

use shoal_common::{
    hash::{is_held_out, pair_hash},
    ids::{EntityId, IdKind},
};
use shoal_proto::v1::{DatasetInfo, DatasetSource, FileContent};

use super::TrainError;
use crate::dataset::{
    parse::{Rating, Record, RowReader, Rules},
    source::{SourceFolder, inspect},
};

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
    /// The pairs that a file names, as keys.
    Given(HashSet<u64>),
}

/// Seed of the pair hashes of [`Split::Given`]: any fixed number does.
const GIVEN_SEED: u64 = 0;

/// Bytes of the held-out file read at a time.
const RANGE_BYTES: u64 = 16 * 1024 * 1024;

impl Split {
    /// Whether ids have to be hashed at all.
    pub(super) fn holds_out_anything(&self) -> bool {
        match self {
            Self::Ratio { ratio, .. } => *ratio > 0.0,
            Self::Given(keys) => !keys.is_empty(),
        }
    }

    /// Whether the pair with these id hashes is kept out of training.
    pub(super) fn is_held_out(&self, user_hash: u64, item_hash: u64) -> bool {
        match self {
            Self::Ratio { ratio, seed } => is_held_out(pair_hash(user_hash, item_hash, *seed), *ratio),
            Self::Given(keys) => keys.contains(&pair_hash(user_hash, item_hash, GIVEN_SEED)),
        }
    }

    /// Holds out the pairs of these ratings.
    pub(super) fn given(ratings: &[Rating]) -> Self {
        let key = |rating: &Rating| pair_hash(rating.user.hash64(), rating.item.hash64(), GIVEN_SEED);
        Self::Given(ratings.iter().map(key).collect())
    }
}

/// The ratings of a held-out file whose user or item is in a shard that `wanted` accepts. Lines that are no ratings are
/// passed over: the file is checked like any other source when it is imported.
pub(super) async fn read_given(
    uri: &str,
    options: &BTreeMap<String, String>,
    dataset: &DatasetInfo,
    wanted: impl Fn(&EntityId, &EntityId) -> bool,
) -> Result<Vec<Rating>, TrainError> {
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
    let mut ratings = Vec::new();
    for file in found.files.iter().filter(|file| file.content() == FileContent::Ratings) {
        for begin in (0..file.length_bytes).step_by(RANGE_BYTES as usize) {
            let (rows, position) = folder.read_rows(file, begin..begin + RANGE_BYTES).await?;
            RowReader::new(file, &rules, uri).read(&rows, position, |record, _| match record {
                Record::Rating(rating) if wanted(&rating.user, &rating.item) => ratings.push(rating),
                _ => {}
            });
        }
    }
    Ok(ratings)
}
