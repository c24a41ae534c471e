//! One loaded shard of each side, and what it answers.
//!
//! Item rows with no training rating have factors that mean nothing: no list scored by factors has
//! them. Popularity counts every rating of the data set, held out or not.

use std::sync::atomic::AtomicBool;

use shoal_common::ids::EntityId;
use shoal_proto::v1::{Objective, ScoreKind};

use super::{
    factors::FactorPart,
    norm,
    query::{ItemQuery, QueryError},
    ratings::RatingsPart,
    top_n::{FactorRows, Scoring, Selection, predict_row, rating_base, top_n},
};

/// A shard of users: their vectors and what they have rated.
#[derive(Debug)]
pub struct UserShard {
    pub(super) factors: FactorPart,
    pub(super) ratings: RatingsPart,
}

/// A user's side of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UserVectors<'a> {
    /// Empty when the version lacks the objective.
    pub ranking: &'a [f32],
    /// Empty when the version lacks the objective.
    pub rating: &'a [f32],
    /// 0 when the version lacks the rating objective.
    pub rating_bias: f32,
    /// Global item rows the user has rated, ascending.
    pub seen_items: &'a [u32],
    /// Training ratings: with none the vectors mean nothing.
    pub train_count: u32,
}

impl UserShard {
    /// How many users.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.factors.rows()
    }

    /// A user's vectors, if the user is of this shard.
    #[must_use]
    pub fn user(&self, id: &EntityId) -> Option<UserVectors<'_>> {
        let row = self.factors.ids().find(id)?;
        let vector = |objective| self.factors.factors(objective).map_or(&[][..], |factors| factors.row(row));
        Some(UserVectors {
            ranking: vector(Objective::Ranking),
            rating: vector(Objective::Rating),
            rating_bias: self.factors.rating_biases().map_or(0.0, |biases| biases[row]),
            seen_items: self.ratings.rated(row),
            train_count: self.factors.train_counts()[row],
        })
    }
}

/// A shard of items: their vectors, popularity, titles and genres.
#[derive(Debug)]
pub struct ItemShard {
    pub(super) first_row: u32,
    pub(super) factors: FactorPart,
    pub(super) ranking_norms: Vec<f64>,
    pub(super) rating_norms: Vec<f64>,
    /// All ratings of each row.
    pub(super) rating_counts: Vec<u32>,
    pub(super) damped_means: Vec<f32>,
    pub(super) descriptions: Vec<Description>,
}

/// What people see of an item; empty for one that the catalogue does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// As in the movies file.
    pub title: Box<str>,
    /// In the file's order.
    pub genres: Box<[Box<str>]>,
}

/// One item of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its row in the shard.
    pub row: usize,
    /// By which the list is ordered.
    pub score: f32,
    /// Where it was asked for and the version predicts ratings.
    pub predicted_rating: Option<f32>,
}

/// An item's side of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ItemVectors<'a> {
    /// Its row in the shard.
    pub row: usize,
    /// Empty when the version lacks the objective.
    pub ranking: &'a [f32],
    /// Empty when the version lacks the objective.
    pub rating: &'a [f32],
    /// 0 when the version lacks the rating objective.
    pub rating_bias: f32,
    /// Ratings in the data set.
    pub ratings: u32,
}

impl ItemShard {
    /// How many items.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.factors.rows()
    }

    /// The global number of a row.
    #[must_use]
    pub fn global_row(&self, row: usize) -> u32 {
        // The data set's rows were checked to fit when the shard was loaded.
        self.first_row + row as u32
    }

    /// The id of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn id(&self, row: usize) -> EntityId {
        self.factors.ids().get(row)
    }

    /// Title and genres of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn description(&self, row: usize) -> &Description {
        &self.descriptions[row]
    }

    /// An item's vectors, if the item is of this shard.
    #[must_use]
    pub fn item(&self, id: &EntityId) -> Option<ItemVectors<'_>> {
        let row = self.factors.ids().find(id)?;
        let vector = |objective| self.factors.factors(objective).map_or(&[][..], |factors| factors.row(row));
        Some(ItemVectors {
            row,
            ranking: vector(Objective::Ranking),
            rating: vector(Objective::Rating),
            rating_bias: self.factors.rating_biases().map_or(0.0, |biases| biases[row]),
            ratings: self.rating_counts[row],
        })
    }

    /// The best items for a query, best first; `None` when `cancelled` was set before the end.
    ///
    /// # Errors
    /// When the query's vectors do not fit the version.
    pub fn top_items(
        &self,
        query: &ItemQuery,
        rating_mean: f64,
        cancelled: &AtomicBool,
    ) -> Result<Option<Vec<Hit>>, QueryError> {
        let base = rating_base(rating_mean, query.rating_bias);
        let (scoring, counts) = self.scoring(query, base)?;
        if let Scoring::Cosine { query_norm: 0.0, .. } = scoring {
            // Nothing is known of the item asked about, so nothing is like it.
            return Ok(Some(Vec::new()));
        }
        let predictor = if query.with_predicted_rating { self.predictor(query)? } else { None };
        let selection =
            Selection { scoring, counts, first_row: self.first_row, exclude: &query.exclude, n: query.n };
        let Some(best) = top_n(&selection, cancelled) else { return Ok(None) };
        let hit = |(score, row): (f32, u32)| {
            let row = row as usize;
            let predict = |(factors, biases)| predict_row(factors, biases, row, &query.rating_vector, base);
            Hit { row, score, predicted_rating: predictor.and_then(predict) }
        };
        Ok(Some(best.into_iter().map(hit).collect()))
    }

    /// How the query scores rows, and the ratings that a row must have to be listed.
    fn scoring<'a>(
        &'a self,
        query: &'a ItemQuery,
        base: f32,
    ) -> Result<(Scoring<'a>, &'a [u32]), QueryError> {
        let trained = self.factors.train_counts();
        Ok(match query.score {
            ScoreKind::Popularity => (Scoring::Table(&self.damped_means), &self.rating_counts),
            ScoreKind::Ranking => {
                let factors = self.checked_factors(Objective::Ranking, "query", &query.vector)?;
                (Scoring::Product { factors, query: &query.vector }, trained)
            }
            ScoreKind::Rating => {
                let factors =
                    self.checked_factors(Objective::Rating, "rating_query", &query.rating_vector)?;
                let biases = self.factors.rating_biases().unwrap_or_default();
                (Scoring::Rating { factors, biases, query: &query.rating_vector, base }, trained)
            }
            ScoreKind::Cosine => {
                let factors = self.checked_factors(query.objective, "query", &query.vector)?;
                let norms = match query.objective {
                    Objective::Rating => &self.rating_norms,
                    _ => &self.ranking_norms,
                };
                let query_norm = norm(&query.vector);
                (Scoring::Cosine { factors, norms, query: &query.vector, query_norm }, trained)
            }
            ScoreKind::Unspecified => return Err(QueryError::NoScore),
        })
    }

    /// What predicted ratings are computed from; `None` when the query has no rating vector, as for
    /// a version that does not predict ratings.
    fn predictor<'a>(&'a self, query: &ItemQuery) -> Result<Option<(FactorRows<'a>, &'a [f32])>, QueryError> {
        if query.rating_vector.is_empty() {
            return Ok(None);
        }
        let factors = self.checked_factors(Objective::Rating, "rating_query", &query.rating_vector)?;
        Ok(self.factors.rating_biases().map(|biases| (factors, biases)))
    }

    fn checked_factors(
        &self,
        objective: Objective,
        field: &'static str,
        vector: &[f32],
    ) -> Result<FactorRows<'_>, QueryError> {
        let factors = self.factors.factors(objective).ok_or(QueryError::NotTrained { objective })?;
        if vector.len() != factors.rank() {
            return Err(QueryError::Length { field, found: vector.len(), rank: factors.rank() });
        }
        Ok(factors)
    }
}
