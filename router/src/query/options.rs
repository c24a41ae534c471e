//! What a list is to be like, whoever it is for.

use shoal_core::ModelKind;
use shoal_proto::v1::{ItemFilter, RankBy};

use super::{
    filter::{Filter, GivenGenres},
    given::CountRange,
};
use crate::{
    error::{Parameter, QueryError},
    snapshot::Live,
};

/// How many items may be asked for.
pub const RECOMMEND_COUNT: CountRange = CountRange { default: 10, max: 100 };

/// What a list is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many, 1 to 100; 10 by default.
    pub n: Option<i64>,
    /// By which scores: the model's own where it is not said.
    pub rank_by: RankBy,
    /// Rather no answer than one without some shards.
    pub complete: bool,
    /// Leave out what has been rated.
    pub exclude_seen: bool,
    /// Which items may be listed.
    pub filter: Filter,
    /// 0 to 1: how much likeness to the items before counts against an item's score.
    pub diversity: f32,
    /// Say what each rated item adds to each score.
    pub explain: bool,
    /// Which model ranks; the default one where none is named.
    pub model: Option<ModelKind>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            n: None,
            rank_by: RankBy::Unspecified,
            complete: false,
            exclude_seen: true,
            filter: Filter::default(),
            diversity: 0.0,
            explain: false,
            model: None,
        }
    }
}

/// Options that were checked for the version that is to answer.
#[derive(Debug, Clone)]
pub(super) struct CheckedOptions {
    pub(super) n: u32,
    pub(super) rank_by: RankBy,
    pub(super) complete: bool,
    pub(super) exclude_seen: bool,
    pub(super) filter: Option<ItemFilter>,
    /// The genres of the filter, as they were given.
    given_genres: GivenGenres,
    pub(super) diversity: f32,
    pub(super) explain: bool,
}

impl Options {
    /// # Errors
    /// When one is out of its range.
    pub(super) fn check(&self, live: &Live) -> Result<CheckedOptions, QueryError> {
        if !(0.0..=1.0).contains(&self.diversity) {
            let reason = format!("it is {}; it must be from 0 to 1", self.diversity);
            return Err(QueryError::invalid(Parameter::Diversity, reason));
        }
        Ok(CheckedOptions {
            n: RECOMMEND_COUNT.check(self.n)?,
            // What is not said is the model's own order.
            rank_by: if self.rank_by == RankBy::Rating { RankBy::Rating } else { RankBy::Ranking },
            complete: self.complete,
            exclude_seen: self.exclude_seen,
            filter: self.filter.resolve(live.item_id_kind)?,
            given_genres: self.filter.given_genres(),
            diversity: self.diversity,
            explain: self.explain,
        })
    }
}

impl CheckedOptions {
    /// Those of these genres that the request names, as it names them and in its order.
    pub(super) fn as_given(&self, genres: &[String]) -> Vec<String> {
        self.given_genres.as_given(genres)
    }
}
