//! What the likeness of a shard's items to others is computed from, by whoever has hits of several shards.
//!
//! - A version of factors sends an item's factors.
//! - An item CF version knows nothing of an item but its neighbours, so it sends those: 8 bytes for each that is kept.
//! - A content version has neighbours too, but sends what they were made from, the item's vector. It is exact for any two
//!   items, where lists end at the most similar ones: items that have the same genres and decade often outnumber a list, and
//!   by their lists two of them would be nothing alike. Without a genome a vector is a few features, a fraction of a list;
//!   with one it is 4 bytes for each genome tag more, about three times a list of the default length.

use super::{
    item_model::{Features, ItemModel},
    item_shard::ItemShard,
    neighbours::NeighbourLists,
    query::ItemQuery,
};

/// An item, as it is compared with others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Representation<'a> {
    /// Factors, compared by cosine.
    Factors(&'a [f32]),
    /// A vector of features, compared by inner product: see [`shoal_engine::content`].
    Features {
        /// Those of the sparse blocks, ascending.
        features: &'a [u32],
        /// The weight of each of `features`.
        values: &'a [f32],
        /// Empty where the item has none.
        genome: &'a [f32],
    },
    /// Stored neighbours, best first.
    Neighbours {
        /// Global item rows of the neighbours.
        rows: &'a [u32],
        /// The similarity of each of `rows`.
        similarities: &'a [f32],
    },
}

impl<'a> Representation<'a> {
    fn of_lists(lists: &'a NeighbourLists, row: usize) -> Self {
        let (rows, similarities) = lists.of(row);
        Self::Neighbours { rows, similarities }
    }
}

impl ItemShard {
    /// What the likeness of a row to others is computed from, where this query has scored them.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn representation(&self, query: &ItemQuery, row: usize) -> Representation<'_> {
        let factors = self.scored_factors(query, row);
        match &self.model {
            ItemModel::Factors(_) => Representation::Factors(factors),
            // Without factors by the neighbours of its first version.
            ItemModel::Blend(blended) => {
                match blended.lists().next().filter(|_| blended.bounds().is_none()) {
                    Some(lists) => Representation::of_lists(lists, row),
                    None => Representation::Factors(factors),
                }
            }
            ItemModel::Neighbours(lists) => Representation::of_lists(lists, row),
            ItemModel::Features(Features { lists, vectors: None }) => Representation::of_lists(lists, row),
            ItemModel::Features(Features { vectors: Some(vectors), .. }) => {
                let (features, values, genome) = vectors.of(row);
                Representation::Features { features, values, genome }
            }
        }
    }
}
