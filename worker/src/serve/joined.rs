//! The items of all shards as those of one: for the lists of many users. What a query costs anew in each shard of a small
//! catalogue, a list of its own above all, is more there than what its items cost.
//!
//! Rows are in the order of item ids, so that a row's number breaks ties as its id does and nothing is left to merge. Lists
//! are those that the shards give, item by item and bit by bit.

use std::sync::{Arc, atomic::AtomicBool};

use shoal_engine::score::{
    Admits as _, Bounds, FactorRows, Scoring, Screen, Selection, predict_row, rating_base, top_n,
};
use shoal_proto::v1::Objective;

use super::{
    best::Found, filter::ItemFilter, item_model::ItemModel, item_shard::ItemShard, query::ItemQuery,
    query_error::QueryError, score::Score, top_items::Hit,
};

/// Bytes of factors up to which shards are joined, which takes a copy of them. The shards of a larger catalogue have so
/// many items each that joining them gains little.
const BYTES_MAX: usize = 64 << 20;

/// The factors of one objective of all items.
#[derive(Debug)]
pub struct JoinedItems {
    shards: Vec<Arc<ItemShard>>,
    objective: Objective,
    /// Of each row the place of its shard, and its row there.
    places: Vec<(u32, u32)>,
    /// Of each global row its row here.
    row_of: Vec<u32>,
    rank: usize,
    values: Vec<f32>,
    /// The bias of each row; rating factors alone have biases.
    biases: Vec<f32>,
    /// Training ratings; 0 also where the filter lets nothing pass.
    counts: Vec<u32>,
    screen: Screen,
}

impl JoinedItems {
    /// Of all shards of a version, for queries that score by this objective and list what passes the filter. `None` where the
    /// version has other means than factors too, or the factors are large.
    #[must_use]
    pub fn new(shards: &[Arc<ItemShard>], objective: Objective, filter: Option<&ItemFilter>) -> Option<Self> {
        if !shards.iter().all(|shard| matches!(shard.model, ItemModel::Factors(_))) {
            return None;
        }
        let factors: Vec<FactorRows<'_>> =
            shards.iter().map(|shard| shard.factors.factors(objective)).collect::<Option<_>>()?;
        let rank = factors.first()?.rank();
        let rows: usize = factors.iter().map(FactorRows::len).sum();
        if rows.checked_mul(rank * size_of::<f32>())? > BYTES_MAX {
            return None;
        }
        // A data set's rows fit in a u32, and so do its shards.
        let of_shard = |(shard, factors): (usize, &FactorRows<'_>)| {
            (0..factors.len() as u32).map(move |row| (shard as u32, row))
        };
        let mut places: Vec<(u32, u32)> = factors.iter().enumerate().flat_map(of_shard).collect();
        let id = |place: &(u32, u32)| shards[place.0 as usize].id_ref(place.1 as usize);
        places.sort_unstable_by(|a, b| id(a).cmp(&id(b)));

        let filters: Vec<_> = shards
            .iter()
            .map(|shard| filter.map(|filter| filter.of_shard(shard.factors.ids(), &shard.descriptions)))
            .collect();
        let biases_of = |shard: &ItemShard| match objective {
            Objective::Rating => shard.factors.rating_biases().map(<[f32]>::to_vec),
            _ => None,
        };
        let all_biases: Option<Vec<Vec<f32>>> = shards.iter().map(|shard| biases_of(shard)).collect();
        let (mut values, mut biases) = (Vec::with_capacity(rows * rank), Vec::new());
        let (mut counts, mut row_of) = (Vec::with_capacity(rows), vec![0; rows]);
        for (joined, &(shard, row)) in places.iter().enumerate() {
            let (shard, row) = (shard as usize, row as usize);
            values.extend_from_slice(factors[shard].row(row));
            biases.extend(all_biases.as_ref().map(|biases| biases[shard][row]));
            let admitted = filters[shard].as_ref().is_none_or(|filter| filter.admits(row));
            counts.push(if admitted { shards[shard].factors.train_counts()[row] } else { 0 });
            *row_of.get_mut(shards[shard].global_row(row) as usize)? = joined as u32;
        }
        let screen = Screen::new(&values, rank, &biases, &counts, Bounds::Fastest);
        let shards = shards.to_vec();
        Some(Self { shards, objective, places, row_of, rank, values, biases, counts, screen })
    }

    /// Whether the query scores by these factors.
    #[must_use]
    pub fn answers(&self, query: &ItemQuery) -> bool {
        match query.score {
            Score::Ranking { .. } => self.objective == Objective::Ranking,
            Score::Rating => self.objective == Objective::Rating,
            _ => false,
        }
    }

    /// The list of each query, which this [`JoinedItems::answers`]: score descending, then item id ascending. The queries'
    /// filters are not looked at. `None` when `cancelled` was set before the end.
    ///
    /// # Errors
    /// When a query's vectors do not fit the version.
    pub fn top_items(
        &self,
        queries: &[ItemQuery],
        rating_mean: f64,
        cancelled: &AtomicBool,
    ) -> Result<Option<Vec<Vec<Found>>>, QueryError> {
        let excluded: Vec<Vec<u32>> = queries.iter().map(|query| self.rows_of(&query.exclude)).collect();
        let selections: Vec<Selection<'_>> = queries
            .iter()
            .zip(&excluded)
            .map(|(query, exclude)| self.selection(query, exclude, rating_mean))
            .collect::<Result<_, _>>()?;
        let Some(lists) = top_n(&selections, cancelled) else { return Ok(None) };
        let predictors: Vec<Option<(FactorRows<'_>, &[f32])>> = self
            .shards
            .iter()
            .map(|shard| shard.factors.factors(Objective::Rating).zip(shard.factors.rating_biases()))
            .collect();
        let found = |(query, best): (&ItemQuery, Vec<(f32, u32)>)| -> Vec<Found> {
            let base = rating_base(rating_mean, query.rating_bias);
            let predicts = query.with_predicted_rating && !query.rating_vector.is_empty();
            let found = |(score, row): (f32, u32)| {
                let (shard, row) = self.places[row as usize];
                let (shard, row) = (shard as usize, row as usize);
                let predictor = predictors[shard].filter(|_| predicts);
                let predicted_rating = predictor.and_then(|(factors, biases)| {
                    predict_row(factors, biases, row, &query.rating_vector, base)
                });
                Found { shard, hit: Hit { row, score, predicted_rating, levels: Vec::new() } }
            };
            best.into_iter().map(found).collect()
        };
        Ok(Some(queries.iter().zip(lists).map(found).collect()))
    }

    fn selection<'a>(
        &'a self,
        query: &'a ItemQuery,
        exclude: &'a [u32],
        rating_mean: f64,
    ) -> Result<Selection<'a>, QueryError> {
        let factors = FactorRows::new(&self.values, self.rank).screened(&self.screen);
        let by_rating = self.objective == Objective::Rating;
        // Predicted ratings are of the same rank as what ranks.
        for (field, vector, is_scored) in [
            ("query", query.score.vector(), !by_rating),
            ("rating_query", &query.rating_vector[..], by_rating),
        ] {
            if vector.len() != self.rank && (is_scored || !vector.is_empty()) {
                return Err(QueryError::Length { field, found: vector.len(), rank: self.rank });
            }
        }
        let scoring = if by_rating {
            let base = rating_base(rating_mean, query.rating_bias);
            Scoring::Rating { factors, biases: &self.biases, query: &query.rating_vector, base }
        } else {
            Scoring::Product { factors, query: query.score.vector() }
        };
        let floor = f32::NEG_INFINITY;
        Ok(Selection {
            scoring,
            counts: &self.counts,
            first_row: 0,
            exclude,
            filter: None,
            n: query.n,
            floor,
        })
    }

    /// Global rows as rows here, ascending.
    fn rows_of(&self, global: &[u32]) -> Vec<u32> {
        let mut rows: Vec<u32> =
            global.iter().filter_map(|row| self.row_of.get(*row as usize).copied()).collect();
        rows.sort_unstable();
        rows
    }
}
