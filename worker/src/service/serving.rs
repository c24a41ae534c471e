//! Queries by routers: a user's side, an item's side, and the best items of some shards.
//!
//! Lookups are a bisection and a copy, so they run where they arrive; scoring runs on the serving
//! pool, which training does not share. A caller that has gone away stops its query at the next
//! block of rows, or before it starts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use shoal_common::{
    compute::Compute,
    ids::EntityId,
    rpc::{timeout_of, version_missing},
};
use shoal_proto::v1::{
    self, ItemHit, LookupItemReply, LookupItemRequest, LookupUserReply, LookupUserRequest, ScoreKind,
    ShardHits, TopItemsReply, TopItemsRequest, worker_serving_server::WorkerServing,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::admission::Admission;
use crate::serve::{Hit, ItemQuery, ItemShard, LoadedModels, LoadedVersion, QueryError};

/// Rows in all below which one thread is quicker than sharing the work out (about 0.1 ms of work).
const PARALLEL_ROWS_MIN: usize = 20_000;

/// The query service of one worker.
#[derive(Debug)]
pub struct Serving {
    models: LoadedModels,
    compute: Compute,
    admission: Arc<Admission>,
}

/// Why scoring gave no answer.
enum Unscored {
    Query(QueryError),
    Cancelled,
    TooLate,
}

impl Serving {
    /// Answers from `models` on `compute`; at most `queue` queries wait or run at once.
    #[must_use]
    pub fn new(models: LoadedModels, compute: Compute, queue: usize) -> Self {
        let admission = Arc::new(Admission::new(queue, compute.threads()));
        Self { models, compute, admission }
    }

    fn version(&self, name: &str) -> Result<Arc<LoadedVersion>, Status> {
        let missing = || version_missing(name, format!("this worker has not loaded version '{name}'"));
        self.models.get(name).ok_or_else(missing)
    }

    async fn score(
        &self,
        version: Arc<LoadedVersion>,
        shards: Vec<(u32, Option<Arc<ItemShard>>)>,
        query: ItemQuery,
        deadline: Option<Instant>,
    ) -> Result<Vec<ShardHits>, Status> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let _caller = CancelOnDrop(Arc::clone(&cancelled));
        let admission = Arc::clone(&self.admission);
        let scored = self.compute.run(move || {
            // Asked again here: the wait for a thread may have used up the time.
            if !admission.can_finish(deadline) {
                return Err(Unscored::TooLate);
            }
            let started = Instant::now();
            let hits = score_shards(&version, &shards, &query, &cancelled);
            admission.observe(started.elapsed());
            hits
        });
        match scored.await {
            Ok(Ok(hits)) => Ok(hits),
            Ok(Err(Unscored::Query(error))) => Err(Status::invalid_argument(error.to_string())),
            Ok(Err(Unscored::Cancelled)) => Err(Status::cancelled("the caller has gone")),
            Ok(Err(Unscored::TooLate)) => Err(too_late()),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }
}

#[tonic::async_trait]
impl WorkerServing for Serving {
    async fn lookup_user(
        &self,
        request: Request<LookupUserRequest>,
    ) -> Result<Response<LookupUserReply>, Status> {
        let _timer = QueryTimer::start("lookup_user");
        let _place = self.admission.enter()?;
        let LookupUserRequest { version, user } = request.into_inner();
        let user = entity_id("user", user)?;
        let version = self.version(&version)?;
        let number = user.shard(version.shard_count);
        let shard = version.users.get(&number).ok_or_else(|| shard_missing(&version.name, "user", number))?;
        let Some(vectors) = shard.user(&user) else {
            return Ok(Response::new(LookupUserReply::default()));
        };
        let seen_items = copy(vectors.seen_items);
        // All of this user's ratings are held out: the vectors are untrained, so the version knows
        // no more of the user than what has been seen.
        if vectors.train_count == 0 {
            return Ok(Response::new(LookupUserReply { seen_items, ..Default::default() }));
        }
        Ok(Response::new(LookupUserReply {
            known: true,
            ranking_factors: copy(vectors.ranking),
            rating_factors: copy(vectors.rating),
            rating_bias: vectors.rating_bias,
            seen_items,
        }))
    }

    async fn lookup_item(
        &self,
        request: Request<LookupItemRequest>,
    ) -> Result<Response<LookupItemReply>, Status> {
        let _timer = QueryTimer::start("lookup_item");
        let _place = self.admission.enter()?;
        let LookupItemRequest { version, item } = request.into_inner();
        let item = entity_id("item", item)?;
        let version = self.version(&version)?;
        let number = item.shard(version.shard_count);
        let shard = version.items.get(&number).ok_or_else(|| shard_missing(&version.name, "item", number))?;
        let Some(vectors) = shard.item(&item) else {
            return Ok(Response::new(LookupItemReply::default()));
        };
        let (title, genres) = describe(shard, vectors.row);
        Ok(Response::new(LookupItemReply {
            known: true,
            row: shard.global_row(vectors.row),
            title,
            genres,
            ranking_factors: copy(vectors.ranking),
            rating_factors: copy(vectors.rating),
            rating_bias: vectors.rating_bias,
            ratings: u64::from(vectors.ratings),
        }))
    }

    async fn top_items(&self, request: Request<TopItemsRequest>) -> Result<Response<TopItemsReply>, Status> {
        let _timer = QueryTimer::start(score_name(request.get_ref().score()));
        let deadline = timeout_of(request.metadata()).map(|timeout| Instant::now() + timeout);
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let query =
            ItemQuery::from_request(&request).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let version = self.version(&request.version)?;
        let shards: Vec<(u32, Option<Arc<ItemShard>>)> =
            request.shards.iter().map(|number| (*number, version.items.get(number).cloned())).collect();
        if shards.iter().all(|(_, shard)| shard.is_none()) {
            return Err(shard_missing(&version.name, "item", shards[0].0));
        }
        if !self.admission.can_finish(deadline) {
            return Err(too_late());
        }
        let shards = self.score(version, shards, query, deadline).await?;
        Ok(Response::new(TopItemsReply { version: request.version, shards }))
    }
}

/// Scores every shard, sharing the work out when there is enough of it. The answer does not depend
/// on how many threads there are.
fn score_shards(
    version: &LoadedVersion,
    shards: &[(u32, Option<Arc<ItemShard>>)],
    query: &ItemQuery,
    cancelled: &AtomicBool,
) -> Result<Vec<ShardHits>, Unscored> {
    let rows: usize = shards.iter().filter_map(|(_, shard)| shard.as_ref()).map(|shard| shard.rows()).sum();
    let score = |(number, shard): &(u32, Option<Arc<ItemShard>>)| {
        let Some(shard) = shard else { return Ok(missing_hits(&version.name, *number)) };
        match shard.top_items(query, version.rating_mean, cancelled) {
            Ok(Some(hits)) => {
                let hits = hits.iter().map(|hit| item_hit(shard, hit)).collect();
                Ok(ShardHits { shard: *number, hits, ..Default::default() })
            }
            Ok(None) => Err(Unscored::Cancelled),
            Err(error) => Err(Unscored::Query(error)),
        }
    };
    if rows < PARALLEL_ROWS_MIN {
        shards.iter().map(score).collect()
    } else {
        shards.par_iter().map(score).collect()
    }
}

fn missing_hits(version: &str, shard: u32) -> ShardHits {
    let error = format!("this worker has not loaded item shard {shard} of version '{version}'");
    ShardHits { shard, hits: Vec::new(), error, retryable: true }
}

fn item_hit(shard: &ItemShard, hit: &Hit) -> ItemHit {
    let (title, genres) = describe(shard, hit.row);
    ItemHit {
        item: Some(shard.id(hit.row).into()),
        row: shard.global_row(hit.row),
        score: hit.score,
        predicted_rating: hit.predicted_rating,
        title,
        genres,
    }
}

fn describe(shard: &ItemShard, row: usize) -> (String, Vec<String>) {
    let description = shard.description(row);
    (description.title.to_string(), description.genres.iter().map(|genre| genre.to_string()).collect())
}

fn entity_id(what: &str, id: Option<v1::EntityId>) -> Result<EntityId, Status> {
    let id = id.ok_or(shoal_common::ids::MissingId).and_then(EntityId::try_from);
    id.map_err(|error| Status::invalid_argument(format!("{what}: {error}")))
}

fn shard_missing(version: &str, side: &str, shard: u32) -> Status {
    version_missing(
        version,
        format!("this worker has not loaded {side} shard {shard} of version '{version}'"),
    )
}

fn too_late() -> Status {
    Status::deadline_exceeded("the query was not started: too little of its time is left")
}

/// A slice as its little-endian bytes.
fn copy<T: bytemuck::NoUninit>(values: &[T]) -> Bytes {
    Bytes::copy_from_slice(bytemuck::cast_slice(values))
}

fn score_name(score: ScoreKind) -> &'static str {
    match score {
        ScoreKind::Ranking => "ranking",
        ScoreKind::Rating => "rating",
        ScoreKind::Cosine => "cosine",
        ScoreKind::Popularity => "popularity",
        ScoreKind::Unspecified => "unspecified",
    }
}

/// Tells running work that its caller has gone: dropped with the call's future.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Records how long a query was here, however it ends.
struct QueryTimer {
    kind: &'static str,
    started: Instant,
}

impl QueryTimer {
    fn start(kind: &'static str) -> Self {
        Self { kind, started: Instant::now() }
    }
}

impl Drop for QueryTimer {
    fn drop(&mut self) {
        let seconds: Duration = self.started.elapsed();
        metrics::histogram!("shoal_worker_query_seconds", "kind" => self.kind).record(seconds.as_secs_f64());
    }
}
