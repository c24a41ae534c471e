//! The best items of several shards for several queries, each shard in one pass: what an answer of one call, and a block
//! of batch lists, are made of.
//!
//! Shards that are gone through one by one know what the ones before had: an item that scores less than a query's n-th
//! best so far is in no list. Lists do not depend on that, nor on the other queries.

use std::sync::{Arc, atomic::AtomicBool};

use shoal_common::topk::{TopK, better_first};

use super::{
    item_shard::ItemShard,
    query::{ItemQuery, QueryError},
    top_items::Hit,
};

/// Of each shard the lists of each query; `None` for a shard that is not here.
type Lists = Vec<Option<Vec<Vec<Hit>>>>;

/// The lists of several shards, and what an item must score to be in the list of all.
#[derive(Debug)]
pub struct BestOfShards {
    lists: Lists,
    /// Of each query.
    found: Vec<TopK<()>>,
}

/// An item of a list that several shards contribute to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Place of its shard among those that were searched.
    pub shard: usize,
    /// The item.
    pub hit: Hit,
}

impl BestOfShards {
    /// No shard yet.
    #[must_use]
    pub fn new(queries: &[ItemQuery]) -> Self {
        Self { lists: Vec::new(), found: queries.iter().map(|query| TopK::new(query.n)).collect() }
    }

    /// Goes through the shards one by one; `None` when `cancelled` was set before the end.
    ///
    /// # Errors
    /// When a query does not fit the version.
    pub fn one_by_one<'a>(
        shards: impl Iterator<Item = Option<&'a ItemShard>>,
        queries: &[ItemQuery],
        rating_mean: f64,
        cancelled: &AtomicBool,
    ) -> Result<Option<Self>, QueryError> {
        let mut best = Self::new(queries);
        for shard in shards {
            let lists = match shard {
                Some(shard) => {
                    let found = shard.top_items(queries, &best.floors(), rating_mean, cancelled)?;
                    let Some(lists) = found else { return Ok(None) };
                    Some(lists)
                }
                None => None,
            };
            best.add(lists);
        }
        Ok(Some(best))
    }

    /// Adds the lists of the next shard.
    pub fn add(&mut self, lists: Option<Vec<Vec<Hit>>>) {
        for (found, hits) in self.found.iter_mut().zip(lists.iter().flatten()) {
            hits.iter().for_each(|hit| found.push(hit.score, ()));
        }
        self.lists.push(lists);
    }

    /// What an item must score to be in the list of each query.
    #[must_use]
    pub fn floors(&self) -> Vec<f32> {
        self.found.iter().map(TopK::threshold).collect()
    }

    /// The lists of each shard, in the order of the shards; some of their items may score less than the floors.
    #[must_use]
    pub fn into_lists(self) -> Lists {
        self.lists
    }

    /// The list of each query over all shards, `shards` being those that were searched: score descending, then item id
    /// ascending.
    #[must_use]
    pub fn merged(self, shards: &[Arc<ItemShard>], queries: &[ItemQuery]) -> Vec<Vec<Found>> {
        let floors = self.floors();
        let mut merged: Vec<Vec<Found>> = vec![Vec::new(); queries.len()];
        for (shard, lists) in self.lists.into_iter().enumerate() {
            for ((all, hits), floor) in merged.iter_mut().zip(lists.into_iter().flatten()).zip(&floors) {
                let within = hits.into_iter().take_while(|hit| hit.score >= *floor);
                all.extend(within.map(|hit| Found { shard, hit }));
            }
        }
        let id = |found: &Found| shards[found.shard].id_ref(found.hit.row);
        for (all, query) in merged.iter_mut().zip(queries) {
            all.sort_unstable_by(|a, b| better_first((a.hit.score, &id(a)), (b.hit.score, &id(b))));
            all.truncate(query.n);
        }
        merged
    }
}
