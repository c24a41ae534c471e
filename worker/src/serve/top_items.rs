//! The best items of a shard for queries, and what their scores are made of.
//!
//! Item rows with no training rating have factors that mean nothing: no list scored by factors has them.

use std::sync::{Arc, atomic::AtomicBool};

use shoal_engine::{
    popularity::{Decay, Newness, Window, recent, trend},
    score::{Admits, FactorRows, Scoring, Selection, norm, predict_row, rating_base, top_n},
};
use shoal_proto::v1::Objective;

use super::{
    blended::Blended,
    filter::{ItemFilter, RowFilter},
    item_model::{Features, ItemModel},
    item_shard::ItemShard,
    neighbours::NeighbourLists,
    predicted::by_profile,
    profiles::{FeatureVectors, Profile},
    query::ItemQuery,
    query_error::QueryError,
    score::Score,
    table_scores::{ByRow, TableScores, Wanted},
};

/// One item of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its row in the shard.
    pub row: usize,
    /// By which the list is ordered.
    pub score: f32,
    /// Where it was asked for and the version predicts ratings.
    pub predicted_rating: Option<f32>,
    /// Where it was asked for, of a blend: how far up each source's scores it stands; else empty.
    pub levels: Vec<f32>,
}

/// How a query scores the rows of one shard.
enum Scored<'a> {
    /// All rows at once, before the best are chosen.
    AtOnce(TableScores),
    /// Row by row, as the best are chosen.
    ByRow(ByRow<'a>),
}

/// A query with what was worked out for one shard.
struct Prepared<'a> {
    query: &'a ItemQuery,
    base: f32,
    predictor: Option<(FactorRows<'a>, &'a [f32])>,
    filter: Option<Arc<RowFilter<'a>>>,
    scored: Scored<'a>,
    /// What ratings are expected to be above an item's bias.
    expected: f64,
    /// What ratings are predicted from where not from factors.
    lists: Option<&'a NeighbourLists>,
    profile: Option<(&'a FeatureVectors, Profile)>,
    blended: Option<&'a Blended>,
    /// Of each row, for a version without factors.
    biases: &'a [f32],
}

impl Prepared<'_> {
    fn hit(&self, score: f32, row: usize) -> Hit {
        let by_factors =
            |(factors, biases)| predict_row(factors, biases, row, &self.query.rating_vector, self.base);
        let by_neighbours = |lists: &NeighbourLists| lists.predict(row, &self.query.rated, self.expected);
        let by_profile = |(vectors, profile): &(&FeatureVectors, Profile)| {
            by_profile(vectors, profile, row, self.expected, self.biases[row])
        };
        let predicted_rating = self
            .predictor
            .and_then(by_factors)
            .or_else(|| self.lists.and_then(by_neighbours))
            .or_else(|| self.profile.as_ref().and_then(by_profile));
        Hit { row, score, predicted_rating, levels: self.levels(row) }
    }

    fn levels(&self, row: usize) -> Vec<f32> {
        let blended = self.blended.filter(|_| self.query.with_parts);
        match (blended, &self.scored) {
            (Some(blended), Scored::AtOnce(table)) => blended.levels(&table.sources, row),
            (None, _) | (_, Scored::ByRow(_)) => Vec::new(),
        }
    }
}

/// Filters as the rows of a shard are asked; one that queries share is resolved once.
struct ShardFilters<'a> {
    shard: &'a ItemShard,
    last: Option<(&'a Arc<ItemFilter>, Arc<RowFilter<'a>>)>,
}

impl<'a> ShardFilters<'a> {
    fn of(&mut self, query: &'a ItemQuery) -> Option<Arc<RowFilter<'a>>> {
        let filter = query.filter.as_ref()?;
        if let Some((_, resolved)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, filter)) {
            return Some(Arc::clone(resolved));
        }
        let resolved = Arc::new(filter.of_shard(self.shard.factors.ids(), &self.shard.descriptions));
        self.last = Some((filter, Arc::clone(&resolved)));
        Some(resolved)
    }
}

impl ItemShard {
    /// The factors that a query scores a row by, or would if it scored by factors; empty when the version
    /// has none.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub(super) fn scored_factors(&self, query: &ItemQuery, row: usize) -> &[f32] {
        let first = match query.score {
            Score::Rating => Objective::Rating,
            Score::Cosine { objective, .. } => objective,
            _ => Objective::Ranking,
        };
        // A blend may rank by ratings that the version whose factors these are does not predict.
        let others = [Objective::Rating, Objective::Ranking];
        let factors = [first].into_iter().chain(others).find_map(|objective| self.factors.factors(objective));
        factors.map_or(&[], |factors| factors.row(row))
    }

    /// The best items for each of the queries, best first, all in one pass over the rows; `None` when
    /// `cancelled` was set before the end. Items that score less than a query's floor are left out.
    ///
    /// # Errors
    /// When a query's vectors do not fit the version.
    pub fn top_items(
        &self,
        queries: &[ItemQuery],
        floors: &[f32],
        rating_mean: f64,
        cancelled: &AtomicBool,
    ) -> Result<Option<Vec<Vec<Hit>>>, QueryError> {
        let mut filters = ShardFilters { shard: self, last: None };
        let prepared: Vec<Prepared<'_>> = queries
            .iter()
            .zip(floors)
            .map(|(query, &floor)| self.prepare(query, filters.of(query), rating_mean, floor))
            .collect::<Result<_, _>>()?;
        let selections: Vec<Selection<'_>> = prepared
            .iter()
            .zip(floors)
            .map(|(prepared, floor)| self.selection(prepared, *floor))
            .collect::<Result<_, _>>()?;
        let Some(lists) = top_n(&selections, cancelled) else { return Ok(None) };
        let hits = |(prepared, best): (&Prepared<'_>, Vec<(f32, u32)>)| {
            best.into_iter().map(|(score, row)| prepared.hit(score, row as usize)).collect()
        };
        Ok(Some(prepared.iter().zip(lists).map(hits).collect()))
    }

    /// What is worked out once for a query and this shard.
    fn prepare<'a>(
        &'a self,
        query: &'a ItemQuery,
        filter: Option<Arc<RowFilter<'a>>>,
        rating_mean: f64,
        floor: f32,
    ) -> Result<Prepared<'a>, QueryError> {
        let wanted = Wanted { exclude: &query.exclude, filter: filter.as_deref(), n: query.n, floor };
        let base = rating_base(rating_mean, query.rating_bias);
        let expected = rating_mean + f64::from(query.rating_bias);
        let vectors = self.model.vectors().filter(|_| !query.profile.is_empty());
        let profile = vectors.map(|vectors| Ok((vectors, vectors.profile(&query.profile)?)));
        Ok(Prepared {
            query,
            base,
            predictor: if query.with_predicted_rating { self.predictor(query)? } else { None },
            scored: self.scored(query, base, expected, wanted)?,
            filter,
            expected,
            lists: self.lists().filter(|_| query.with_predicted_rating),
            profile: profile.filter(|_| query.with_predicted_rating).transpose()?,
            blended: self.model.blended(),
            biases: self.biases().unwrap_or_default(),
        })
    }

    fn selection<'a>(&'a self, prepared: &'a Prepared<'a>, floor: f32) -> Result<Selection<'a>, QueryError> {
        let query = prepared.query;
        let (scoring, counts) = match &prepared.scored {
            Scored::AtOnce(table) => (Scoring::Table(&table.scores), &table.counts[..]),
            Scored::ByRow(by) => self.scoring(*by, query, prepared.base)?,
        };
        // Nothing is known of an item without direction, so nothing is like it.
        let nothing = matches!(scoring, Scoring::Cosine { query_norm: 0.0, .. });
        Ok(Selection {
            scoring,
            counts,
            first_row: self.first_row,
            exclude: &query.exclude,
            filter: prepared.filter.as_deref().map(|filter| filter as &dyn Admits),
            n: if nothing { 0 } else { query.n },
            floor,
        })
    }

    /// How the query scores the shard's rows.
    fn scored<'a>(
        &'a self,
        query: &'a ItemQuery,
        base: f32,
        expected: f64,
        wanted: Wanted<'_>,
    ) -> Result<Scored<'a>, QueryError> {
        Ok(match &query.score {
            Score::Rating if self.predicts_by_items() => {
                Scored::AtOnce(self.predicted_table(query, expected)?)
            }
            Score::Neighbours => {
                let lists = self.lists().ok_or(QueryError::NoNeighbours)?;
                lists.check(&query.rated)?;
                let scores = lists.scores(&query.rated);
                // A sum of 0 is taken for a sum over nothing. Where weights may be below 0, another sum is as good as never 0.
                let counts = scores.iter().map(|score| u32::from(*score != 0.0)).collect();
                Scored::AtOnce(TableScores { scores, counts, ..TableScores::default() })
            }
            Score::List { .. } => {
                let (mut scores, mut counts) = (vec![0.0; self.rows()], vec![0; self.rows()]);
                for (row, score) in self.own_listed(query) {
                    (scores[row], counts[row]) = (score, 1);
                }
                Scored::AtOnce(TableScores { scores, counts, ..TableScores::default() })
            }
            Score::Blend { vector } => Scored::AtOnce(self.blended_table(vector, query, base, wanted)?),
            Score::BlendLikeness { vector, objective, .. } => {
                Scored::AtOnce(self.likeness_table((vector, *objective), query, base)?)
            }
            Score::Popularity { window_seconds, newest_unix_s } if *window_seconds > 0 => {
                let window = Window { newest: *newest_unix_s, seconds: *window_seconds };
                Scored::AtOnce(self.scores_in(window))
            }
            Score::Trend { half_life_seconds, newest_unix_s } => {
                let decay = Decay { newest: *newest_unix_s, half_life_seconds: *half_life_seconds as f64 };
                Scored::AtOnce(self.trends(decay))
            }
            Score::Latest => Scored::AtOnce(self.release_years()),
            Score::Ranking { vector } => Scored::ByRow(ByRow::Ranking(vector)),
            Score::Rating => Scored::ByRow(ByRow::Rating),
            Score::Cosine { vector, objective } => Scored::ByRow(ByRow::Cosine(vector, *objective)),
            Score::Popularity { .. } => Scored::ByRow(ByRow::Popularity),
        })
    }

    /// What the query lists of the shard's rows.
    pub(super) fn own_listed<'a>(&'a self, query: &'a ItemQuery) -> impl Iterator<Item = (usize, f32)> + 'a {
        query.score.listed().iter().filter_map(|(row, score)| {
            let row = row.checked_sub(self.first_row)? as usize;
            (row < self.rows()).then_some((row, *score))
        })
    }

    /// The rated items that add most to a row's score in a query by neighbours, most first: global rows, and what
    /// each adds. Of a rating that is predicted from neighbours all that it is the mean of.
    #[must_use]
    pub fn parts(&self, query: &ItemQuery, row: usize, rating_mean: f64) -> Vec<(u32, f32)> {
        let predicting = self.lists().filter(|_| self.predicts_by_items());
        match (&query.score, &self.model, predicting) {
            (
                Score::Neighbours,
                ItemModel::Neighbours(lists) | ItemModel::Features(Features { lists, .. }),
                _,
            ) => lists.parts(row, &query.rated),
            (Score::Rating, _, Some(lists)) => {
                lists.prediction_parts(row, &query.rated, rating_mean + f64::from(query.rating_bias))
            }
            _ => Vec::new(),
        }
    }

    /// The mean of each row's ratings in a window, and how many these are.
    fn scores_in(&self, window: Window) -> TableScores {
        self.of_rows(|row, times| {
            let found = recent(self.ratings.ratings(row), times, window, self.rating_mean);
            // A row has at most one rating per user, and users are counted in u32.
            (found.damped_mean, found.ratings as u32)
        })
    }

    /// How much each row is on the rise, and how many of its ratings have a time.
    fn trends(&self, decay: Decay) -> TableScores {
        self.of_rows(|_, times| {
            let timed = times.iter().filter(|time| **time != 0).count();
            (trend(times, decay), timed as u32)
        })
    }

    /// How new each row is, and how many ratings it has.
    fn release_years(&self) -> TableScores {
        self.of_rows(|row, times| {
            let Newness { year, first_rated } = Newness::new(self.descriptions.year(row), times);
            let share = first_rated.unwrap_or_default() as f64 / f64::from(u32::MAX);
            // What is new has no ratings yet: a known year is enough to be listed.
            let listed = self.rating_counts[row].max(u32::from(year.is_some()));
            ((f64::from(year.unwrap_or_default()) + share) as f32, listed)
        })
    }

    /// A score and a count for each row, of the row and the times of its ratings.
    fn of_rows(&self, of_row: impl Fn(usize, &[i64]) -> (f32, u32)) -> TableScores {
        let (scores, counts) = (0..self.rows()).map(|row| of_row(row, self.ratings.timestamps(row))).unzip();
        TableScores { scores, counts, ..TableScores::default() }
    }

    /// How rows are scored one at a time, and the ratings that a row must have to be listed.
    pub(super) fn scoring<'a>(
        &'a self,
        by: ByRow<'a>,
        query: &'a ItemQuery,
        base: f32,
    ) -> Result<(Scoring<'a>, &'a [u32]), QueryError> {
        let trained = self.factors.train_counts();
        Ok(match by {
            ByRow::Popularity => (Scoring::Table(&self.damped_means), &self.rating_counts),
            ByRow::Ranking(vector) => {
                let factors = self.checked_factors(Objective::Ranking, "query", vector)?;
                (Scoring::Product { factors, query: vector }, trained)
            }
            ByRow::Rating => {
                let factors =
                    self.checked_factors(Objective::Rating, "rating_query", &query.rating_vector)?;
                let biases = self.factors.rating_biases().unwrap_or_default();
                (Scoring::Rating { factors, biases, query: &query.rating_vector, base }, trained)
            }
            ByRow::Cosine(vector, objective) => {
                let factors = self.checked_factors(objective, "query", vector)?;
                let norms = self.model.norms(objective);
                (Scoring::Cosine { factors, norms, query: vector, query_norm: norm(vector) }, trained)
            }
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
        self.model.factors(&self.factors, objective, field, vector)
    }
}
