//! One loaded shard of items: what is known of them. What it answers to queries is [`super::top_items`]'s.
//!
//! Popularity counts every rating of the data set, held out or not.

use std::sync::Arc;

use shoal_common::ids::EntityId;
use shoal_engine::{
    als::{gramian::shard_gramian, kernel::Kernel},
    score::FactorRows,
};
use shoal_format::row::IdRef;
use shoal_proto::v1::Objective;

use super::{
    descriptions::Descriptions, factors::FactorPart, item_model::ItemModel, neighbours::NeighbourLists,
    query_error::QueryError, rated_items::RatedItems, ratings::RatingsPart, titles::Matches,
};

/// A shard of items: their vectors, popularity, titles and genres. Clones share all of that.
#[derive(Debug, Clone)]
pub struct ItemShard {
    pub(super) first_row: u32,
    pub(super) factors: Arc<FactorPart>,
    pub(super) ratings: Arc<RatingsPart>,
    /// Time of the newest rating.
    pub(super) newest: i64,
    /// μ of the data set.
    pub(super) rating_mean: f64,
    /// All ratings of each row.
    pub(super) rating_counts: Arc<[u32]>,
    pub(super) damped_means: Arc<[f32]>,
    pub(super) descriptions: Arc<Descriptions>,
    pub(super) model: ItemModel,
    /// Of a blend: the shard of the version that it shares its rows with.
    #[expect(dead_code, reason = "it is held, so that the version itself shares it when it is loaded")]
    pub(super) base: Option<Arc<ItemShard>>,
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
    /// How many training ratings the item has.
    pub train_count: u32,
}

impl ItemShard {
    /// How many items the shard has.
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

    /// The id of a row, borrowed.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn id_ref(&self, row: usize) -> IdRef<'_> {
        self.factors.ids().get_ref(row)
    }

    /// What people see of the rows.
    #[must_use]
    pub fn descriptions(&self) -> &Descriptions {
        &self.descriptions
    }

    /// The rows whose titles have these words; see [`Descriptions`].
    #[must_use]
    pub fn search(&self, words: &[String], n: usize) -> Matches {
        self.descriptions.search(words, n, |row| self.rating_counts[row])
    }

    /// All ratings of a row, and their damped mean; no mean without a rating.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn popularity(&self, row: usize) -> (u32, Option<f32>) {
        let ratings = self.rating_counts[row];
        (ratings, (ratings > 0).then(|| self.damped_means[row]))
    }

    /// An item's vectors, if the item is of this shard.
    #[must_use]
    pub fn item(&self, id: &EntityId) -> Option<ItemVectors<'_>> {
        Some(self.vectors(self.factors.ids().find(id)?))
    }

    /// The vectors of a global row, if the row is of this shard.
    #[must_use]
    pub fn item_of_row(&self, global: u32) -> Option<ItemVectors<'_>> {
        let row = global.checked_sub(self.first_row)? as usize;
        (row < self.rows()).then(|| self.vectors(row))
    }

    fn vectors(&self, row: usize) -> ItemVectors<'_> {
        let vector = |objective| self.factors.factors(objective).map_or(&[][..], |factors| factors.row(row));
        ItemVectors {
            row,
            ranking: vector(Objective::Ranking),
            rating: vector(Objective::Rating),
            rating_bias: self.biases().map_or(0.0, |biases| biases[row]),
            ratings: self.rating_counts[row],
            train_count: self.factors.train_counts()[row],
        }
    }

    /// The biases of the rating factors, else those of whatever has some.
    pub(super) fn biases(&self) -> Option<&[f32]> {
        let of_blend = || self.model.blended().and_then(|blended| blended.baselines.rating_biases());
        self.factors.rating_biases().or_else(of_blend)
    }

    /// The neighbours that ratings are predicted from.
    pub(super) fn lists(&self) -> Option<&NeighbourLists> {
        self.model.lists()
    }

    /// The part that the shard's items make of the profile of somebody who has rated these.
    ///
    /// # Errors
    /// When the version makes no profiles.
    pub fn profile_part(&self, rated: &RatedItems) -> Result<Vec<f32>, QueryError> {
        let vectors = self.model.vectors().ok_or(QueryError::NoVectors)?;
        Ok(vectors.part(rated, self.first_row))
    }

    /// Σ q qᵀ over the shard's ranking factors; empty when the version has none.
    #[must_use]
    pub fn gramian(&self) -> Vec<f64> {
        let factors = self.factors.factors(Objective::Ranking);
        let sum = |factors: FactorRows<'_>| shard_gramian(Kernel::detect(), factors.values(), factors.rank());
        factors.map(sum).unwrap_or_default()
    }

    /// Time of the newest rating, seconds since the epoch; 0 when no rating has a time.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Global rows and similarities of an item's neighbours, best first, of a blend what its versions' add to
    /// likeness. ALS keeps no neighbours.
    #[must_use]
    pub fn neighbours(&self, row: usize) -> Vec<(u32, f32)> {
        self.model.neighbours(row)
    }
}
