//! The best items of several shards for several queries, each shard in one pass: what an answer of one call, and a block
//! of batch lists, are made of.
//!
//! A shard knows what the ones before it had, and the ones beside it so far: an item that scores less than a query's n-th
//! best is in no list. What is left after [`BestOfShards::floors`] does not depend on that, nor on the other queries.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use shoal_core::topk::{TopK, better_first};

use super::{item_shard::ItemShard, query::ItemQuery, query_error::QueryError, top_items::Hit};

/// Of each shard the lists of each query; `None` for a shard that is not here.
type Lists = Vec<Option<Vec<Vec<Hit>>>>;

/// The lists of several shards, and what an item must score to be in the list of all.
#[derive(Debug)]
pub struct BestOfShards {
    lists: Lists,
    /// The best scores found so far, of each query.
    found: Vec<TopK<()>>,
}

/// An item of a list that several shards contribute to.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Place of its shard among those that were searched.
    pub shard: usize,
    /// The item's row in its shard, and its score.
    pub hit: Hit,
}

impl BestOfShards {
    /// Room for the lists of these queries, with no shard searched yet.
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

    /// Goes through the shards on all threads of the pool; `None` when `cancelled` was set before the end.
    ///
    /// # Errors
    /// When a query does not fit the version.
    pub fn side_by_side(
        shards: &[Option<&ItemShard>],
        queries: &[ItemQuery],
        rating_mean: f64,
        cancelled: &AtomicBool,
    ) -> Result<Option<Self>, QueryError> {
        let best = Mutex::new(Self::new(queries));
        let search = |shard: &Option<&ItemShard>| {
            let Some(shard) = shard else { return Ok(Some(None)) };
            let floors = best.lock().unwrap_or_else(PoisonError::into_inner).floors();
            let lists = shard.top_items(queries, &floors, rating_mean, cancelled)?;
            if let Some(lists) = &lists {
                best.lock().unwrap_or_else(PoisonError::into_inner).note(lists);
            }
            Ok(lists.map(Some))
        };
        let lists = shards.par_iter().map(search).collect::<Result<Option<Lists>, QueryError>>()?;
        let best = best.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(lists.map(|lists| Self { lists, ..best }))
    }

    /// Adds the lists of the next shard.
    fn add(&mut self, lists: Option<Vec<Vec<Hit>>>) {
        if let Some(lists) = &lists {
            self.note(lists);
        }
        self.lists.push(lists);
    }

    /// Learns what a shard has.
    fn note(&mut self, lists: &[Vec<Hit>]) {
        for (found, hits) in self.found.iter_mut().zip(lists) {
            hits.iter().for_each(|hit| found.push(hit.score, ()));
        }
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
