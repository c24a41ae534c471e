//! The best items of some shards, scored on the serving pool, or right here where that is quicker.
//!
//! The shards of one call are searched against a common bar, the n-th best score found so far. An item below the bar is
//! left out of its shard's list. The router loses nothing by that: n items of this call are better, so the item is in no
//! list that the router merges.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use shoal_common::compute::ComputeError;
use shoal_proto::v1::{Hits, ItemHit, KnownGenres};
use tokio::time::Instant;
use tonic::Status;

use super::{Serving, copy, describe, invalid};
use crate::serve::{
    BestOfShards, Hit, ItemQuery, ItemShard, LoadedVersion, QueryError, Representation, Score,
};

/// Elements of factors in all up to which scoring takes less than handing it to another thread and back would: tens of
/// microseconds, for which other tasks of this thread can wait.
const HERE_ELEMENTS_MAX: usize = 1 << 20;
/// From so many elements of factors on a query is shared out over threads. One thread would search shard after shard and
/// begin each with the bar of the ones before, which saves work; from here on more threads save more.
const PARALLEL_ELEMENTS_MIN: usize = 1 << 23;

/// What a row of a query without factors counts for.
const OTHER_ROW_ELEMENTS: usize = 64;
/// What a row counts for whose rating is predicted without factors: hundreds of neighbours are looked up, or features.
const PREDICTED_ROW_ELEMENTS: usize = 2_048;

/// The shards asked for; `None` for one that is not here.
pub(super) type AskedShards = Vec<(u32, Option<Arc<ItemShard>>)>;

/// Queries that share a pass, and the shards that they are about.
pub(super) struct Work {
    pub(super) version: Arc<LoadedVersion>,
    pub(super) shards: AskedShards,
    pub(super) queries: Vec<ItemQuery>,
}

/// Of each shard the hits of each query; `None` where the shard is not here.
type Scored = Vec<(u32, Option<Vec<Hits>>)>;

/// Why scoring gave no answer.
enum Unscored {
    Query(QueryError),
    Cancelled,
    TooLate,
    Failed(ComputeError),
}

impl From<Unscored> for Status {
    fn from(why: Unscored) -> Self {
        match why {
            Unscored::Query(error) => invalid(error),
            Unscored::Cancelled => Status::cancelled("the caller has gone"),
            Unscored::TooLate => too_late(),
            Unscored::Failed(error) => Status::internal(error.to_string()),
        }
    }
}

impl Serving {
    pub(super) async fn score(&self, work: Work, deadline: Option<Instant>) -> Result<Scored, Status> {
        if !self.admission.can_finish(deadline) {
            return Err(too_late());
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        let _caller = CancelOnDrop(Arc::clone(&cancelled));
        let admission = Arc::clone(&self.admission);
        let here = work.is_small();
        let score = move || {
            // Asked again here: the wait for a thread may have used up the time.
            if !admission.can_finish(deadline) {
                return Err(Unscored::TooLate);
            }
            let started = Instant::now();
            let hits = work.score(&cancelled);
            admission.observe(started.elapsed());
            hits
        };
        let scored = if here { score() } else { self.compute.run(score).await.map_err(Unscored::Failed)? };
        Ok(scored?)
    }
}

impl Work {
    /// Elements of factors that a full pass multiplies.
    fn elements(&self) -> usize {
        let shards = self.shards.iter().filter_map(|(_, shard)| shard.as_ref());
        let rows: usize = shards.map(|shard| shard.rows()).sum();
        let of_query = |query: &ItemQuery| match query.score.vector().len().max(query.rating_vector.len()) {
            0 if query.score == Score::Rating => rows * PREDICTED_ROW_ELEMENTS,
            0 => rows * OTHER_ROW_ELEMENTS,
            rank => rows * rank,
        };
        self.queries.iter().map(of_query).sum()
    }

    /// Whether the work is a pass over few factors; scores by neighbours or times cost what the user has rated.
    fn is_small(&self) -> bool {
        let by_factors = |query: &ItemQuery| {
            let factors = match query.score {
                Score::Ranking { .. } | Score::Cosine { .. } => true,
                // Without a vector ratings are predicted from all neighbours of all items, or all features.
                Score::Rating => !query.rating_vector.is_empty(),
                _ => false,
            };
            factors && !query.with_parts
        };
        self.queries.iter().all(by_factors) && self.elements() <= HERE_ELEMENTS_MAX
    }

    /// Scores every shard, sharing the work out when there is enough of it. The best of all do not depend
    /// on how many threads there are.
    fn score(&self, cancelled: &AtomicBool) -> Result<Scored, Unscored> {
        let shards: Vec<Option<&ItemShard>> = self.shards.iter().map(|(_, shard)| shard.as_deref()).collect();
        let rating_mean = self.version.rating_mean;
        let best = if self.elements() < PARALLEL_ELEMENTS_MIN || rayon::current_num_threads() == 1 {
            BestOfShards::one_by_one(shards.into_iter(), &self.queries, rating_mean, cancelled)
        } else {
            BestOfShards::side_by_side(&shards, &self.queries, rating_mean, cancelled)
        };
        let best = best.map_err(Unscored::Query)?.ok_or(Unscored::Cancelled)?;
        let (floors, scored) = (best.floors(), best.into_lists());
        let described = self.shards.iter().zip(scored).map(|((number, shard), lists)| {
            (*number, shard.as_ref().zip(lists).map(|(shard, lists)| self.hits(shard, &lists, &floors)))
        });
        Ok(described.collect())
    }

    fn hits(&self, shard: &ItemShard, lists: &[Vec<Hit>], floors: &[f32]) -> Vec<Hits> {
        let of_query = |((query, hits), floor): ((&ItemQuery, &Vec<Hit>), &f32)| {
            let hits = hits.iter().filter(|hit| hit.score >= *floor);
            let known = query.filter.as_ref().and_then(|filter| filter.known_genres(shard.descriptions()));
            Hits {
                hits: hits.map(|hit| item_hit(shard, query, hit, self.version.rating_mean)).collect(),
                known_genres: known.map(|positions| KnownGenres { positions }),
            }
        };
        self.queries.iter().zip(lists).zip(floors).map(of_query).collect()
    }
}

fn item_hit(shard: &ItemShard, query: &ItemQuery, hit: &Hit, rating_mean: f64) -> ItemHit {
    let row = hit.row;
    let (title, genres) = describe(shard, row);
    let parts = if query.with_parts { shard.parts(query, row, rating_mean) } else { Vec::new() };
    let (part_rows, parts): (Vec<u32>, Vec<f32>) = parts.into_iter().unzip();
    let hit = ItemHit {
        item: Some(shard.id(row).into()),
        row: shard.global_row(row),
        score: hit.score,
        predicted_rating: hit.predicted_rating,
        title,
        genres,
        part_rows: copy(&part_rows),
        parts: copy(&parts),
        levels: copy(&hit.levels),
        ..ItemHit::default()
    };
    if query.with_factors { compared(hit, shard.representation(query, row)) } else { hit }
}

/// The hit with what its item is compared by.
fn compared(hit: ItemHit, representation: Representation<'_>) -> ItemHit {
    match representation {
        Representation::Factors(factors) => ItemHit { factors: copy(factors), ..hit },
        Representation::Features { features, values, genome } => {
            let values = [values, genome].concat();
            ItemHit { features: copy(features), feature_values: copy(&values), ..hit }
        }
        Representation::Neighbours { rows, similarities } => {
            ItemHit { neighbour_rows: copy(rows), similarities: copy(similarities), ..hit }
        }
    }
}

fn too_late() -> Status {
    Status::deadline_exceeded("the query was not started: too little of its time is left")
}

/// Tells running work that its caller has gone: dropped with the call's future.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
