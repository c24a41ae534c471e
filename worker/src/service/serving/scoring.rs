//! The best items of some shards, scored on the serving pool.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use shoal_proto::v1::{Hits, ItemHit};
use tokio::time::Instant;
use tonic::Status;

use super::{Serving, copy, describe, invalid};
use crate::serve::{Hit, ItemQuery, ItemShard, LoadedVersion, QueryError};

/// Rows in all below which one thread is quicker than sharing the work out (about 0.1 ms of work).
const PARALLEL_ROWS_MIN: usize = 20_000;

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
}

impl Serving {
    pub(super) async fn score(&self, work: Work, deadline: Option<Instant>) -> Result<Scored, Status> {
        if !self.admission.can_finish(deadline) {
            return Err(too_late());
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        let _caller = CancelOnDrop(Arc::clone(&cancelled));
        let admission = Arc::clone(&self.admission);
        let scored = self.compute.run(move || {
            // Asked again here: the wait for a thread may have used up the time.
            if !admission.can_finish(deadline) {
                return Err(Unscored::TooLate);
            }
            let started = Instant::now();
            let hits = work.score(&cancelled);
            admission.observe(started.elapsed());
            hits
        });
        match scored.await {
            Ok(Ok(hits)) => Ok(hits),
            Ok(Err(Unscored::Query(error))) => Err(invalid(error)),
            Ok(Err(Unscored::Cancelled)) => Err(Status::cancelled("the caller has gone")),
            Ok(Err(Unscored::TooLate)) => Err(too_late()),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }
}

impl Work {
    /// Scores every shard, sharing the work out when there is enough of it. The answer does not depend
    /// on how many threads there are.
    fn score(&self, cancelled: &AtomicBool) -> Result<Scored, Unscored> {
        let shards = self.shards.iter().filter_map(|(_, shard)| shard.as_ref());
        let rows: usize = shards.map(|shard| shard.rows()).sum();
        let score = |(number, shard): &(u32, Option<Arc<ItemShard>>)| {
            let Some(shard) = shard else { return Ok((*number, None)) };
            match shard.top_items(&self.queries, self.version.rating_mean, cancelled) {
                Ok(Some(lists)) => Ok((*number, Some(self.hits(shard, &lists)))),
                Ok(None) => Err(Unscored::Cancelled),
                Err(error) => Err(Unscored::Query(error)),
            }
        };
        if rows * self.queries.len() < PARALLEL_ROWS_MIN {
            self.shards.iter().map(score).collect()
        } else {
            self.shards.par_iter().map(score).collect()
        }
    }

    fn hits(&self, shard: &ItemShard, lists: &[Vec<Hit>]) -> Vec<Hits> {
        let of_query = |(query, hits): (&ItemQuery, &Vec<Hit>)| Hits {
            hits: hits.iter().map(|hit| item_hit(shard, query, hit)).collect(),
        };
        self.queries.iter().zip(lists).map(of_query).collect()
    }
}

fn item_hit(shard: &ItemShard, query: &ItemQuery, hit: &Hit) -> ItemHit {
    let (title, genres) = describe(shard, hit.row);
    let parts = if query.with_parts { shard.parts(query, hit.row) } else { Vec::new() };
    let (part_rows, parts): (Vec<u32>, Vec<f32>) = parts.into_iter().unzip();
    ItemHit {
        item: Some(shard.id(hit.row).into()),
        row: shard.global_row(hit.row),
        score: hit.score,
        predicted_rating: hit.predicted_rating,
        title,
        genres,
        factors: if query.with_factors { copy(shard.scored_factors(query, hit.row)) } else { Bytes::new() },
        part_rows: copy(&part_rows),
        parts: copy(&parts),
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
