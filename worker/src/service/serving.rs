//! Queries by routers: users' and items' own sides, the best items of some shards, and rows for users whom the
//! version does not know.
//!
//! Lookups are a bisection and a copy, so they run where they arrive; scoring and solving run on the serving
//! pool, which training does not share. A caller that has gone away stops its query at the next
//! block of rows, or before it starts.

mod folding;
mod lookups;
mod scoring;
mod search;

use std::{sync::Arc, time::Duration};

use shoal_common::{
    compute::Compute,
    ids::EntityId,
    rpc::{timeout_of, version_missing},
};
use shoal_proto::v1::{
    self, FoldInReply, FoldInRequest, Hits, ItemFactsReply, ItemFactsRequest, LookupItemReply,
    LookupItemRequest, LookupItemsReply, LookupItemsRequest, LookupUserReply, LookupUserRequest,
    LookupUsersReply, LookupUsersRequest, ProfileReply, ProfileRequest, SearchItemsReply, SearchItemsRequest,
    ShardError, ShardHits, ShardHitsMany, TopItemsManyReply, TopItemsManyRequest, TopItemsReply,
    TopItemsRequest, worker_serving_server::WorkerServing,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use self::scoring::{AskedShards, Work};
use super::admission::Admission;
use crate::serve::{ItemQuery, ItemShard, LoadedModels, LoadedVersion, QueryError, check_shards, copy};

/// Queries of one call at most; a router sends 64.
const QUERIES_MAX: usize = 8_192;

/// Ids of one call at most; a router sends 1,000.
const IDS_MAX: usize = 4_096;

/// The query service of one worker.
#[derive(Debug)]
pub struct Serving {
    models: LoadedModels,
    compute: Compute,
    admission: Arc<Admission>,
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
}

#[tonic::async_trait]
impl WorkerServing for Serving {
    async fn lookup_user(
        &self,
        request: Request<LookupUserRequest>,
    ) -> Result<Response<LookupUserReply>, Status> {
        let _timer = QueryTimer::start("lookup");
        let _place = self.admission.enter()?;
        let LookupUserRequest { version, user } = request.into_inner();
        let user = entity_id("user", user)?;
        let version = self.version(&version)?;
        let number = user.shard(version.shard_count);
        let shard = version.users.get(&number).ok_or_else(|| shard_missing(&version.name, "user", number))?;
        Ok(Response::new(lookups::user(shard, &user, false)))
    }

    async fn lookup_item(
        &self,
        request: Request<LookupItemRequest>,
    ) -> Result<Response<LookupItemReply>, Status> {
        let _timer = QueryTimer::start("lookup");
        let _place = self.admission.enter()?;
        let LookupItemRequest { version, item } = request.into_inner();
        let item = entity_id("item", item)?;
        let version = self.version(&version)?;
        let number = item.shard(version.shard_count);
        let shard = version.items.get(&number).ok_or_else(|| shard_missing(&version.name, "item", number))?;
        Ok(Response::new(lookups::item_with_neighbours(shard, &item)))
    }

    async fn top_items(&self, request: Request<TopItemsRequest>) -> Result<Response<TopItemsReply>, Status> {
        let deadline = deadline_of(&request);
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let query = ItemQuery::from_request(&request).map_err(invalid)?;
        let _timer = QueryTimer::start("score");
        let version = self.version(&request.version)?;
        let shards = item_shards(&version, &request.shards)?;
        let scored = self.score(Work { version, shards, queries: vec![query] }, deadline).await?;
        let hits = |(shard, lists): (u32, Option<Vec<Hits>>)| match lists {
            Some(lists) => {
                let Hits { hits, known_genres } = lists.into_iter().next().unwrap_or_default();
                ShardHits { shard, hits, known_genres, ..ShardHits::default() }
            }
            None => {
                let error = Some(not_loaded(&request.version, shard));
                ShardHits { shard, error, ..ShardHits::default() }
            }
        };
        let shards = scored.into_iter().map(hits).collect();
        Ok(Response::new(TopItemsReply { version: request.version, shards }))
    }

    async fn lookup_users(
        &self,
        request: Request<LookupUsersRequest>,
    ) -> Result<Response<LookupUsersReply>, Status> {
        let _timer = QueryTimer::start("lookup");
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let version = self.version(&request.version)?;
        lookups::users(&version, request).map(Response::new)
    }

    async fn lookup_items(
        &self,
        request: Request<LookupItemsRequest>,
    ) -> Result<Response<LookupItemsReply>, Status> {
        let _timer = QueryTimer::start("lookup");
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let version = self.version(&request.version)?;
        lookups::items(&version, request).map(Response::new)
    }

    async fn top_items_many(
        &self,
        request: Request<TopItemsManyRequest>,
    ) -> Result<Response<TopItemsManyReply>, Status> {
        let _timer = QueryTimer::start("batch");
        let deadline = deadline_of(&request);
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        at_most("queries", request.queries.len(), QUERIES_MAX)?;
        let queries = request.queries.iter().map(ItemQuery::from_request).collect::<Result<_, _>>();
        let version = self.version(&request.version)?;
        let shards = item_shards(&version, &request.shards)?;
        let work = Work { version, shards, queries: queries.map_err(invalid)? };
        let scored = self.score(work, deadline).await?;
        let hits = |(shard, lists): (u32, Option<Vec<Hits>>)| match lists {
            Some(queries) => ShardHitsMany { shard, queries, ..ShardHitsMany::default() },
            None => {
                let error = Some(not_loaded(&request.version, shard));
                ShardHitsMany { shard, error, ..ShardHitsMany::default() }
            }
        };
        let shards = scored.into_iter().map(hits).collect();
        Ok(Response::new(TopItemsManyReply { version: request.version, shards }))
    }

    async fn item_facts(
        &self,
        request: Request<ItemFactsRequest>,
    ) -> Result<Response<ItemFactsReply>, Status> {
        let _timer = QueryTimer::start("facts");
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let version = self.version(&request.version)?;
        self.facts(version, request).await.map(Response::new)
    }

    async fn fold_in(&self, request: Request<FoldInRequest>) -> Result<Response<FoldInReply>, Status> {
        let _timer = QueryTimer::start("fold_in");
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let version = self.version(&request.version)?;
        self.solve(&version, request).await.map(Response::new)
    }

    async fn profile(&self, request: Request<ProfileRequest>) -> Result<Response<ProfileReply>, Status> {
        let _timer = QueryTimer::start("profile");
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let version = self.version(&request.version)?;
        self.profile_parts(version, request).await.map(Response::new)
    }

    async fn search_items(
        &self,
        request: Request<SearchItemsRequest>,
    ) -> Result<Response<SearchItemsReply>, Status> {
        let _timer = QueryTimer::start("search");
        let _place = self.admission.enter()?;
        let request = request.into_inner();
        let version = self.version(&request.version)?;
        self.search(version, request).await.map(Response::new)
    }
}

/// The shards asked for, as far as they are here; at least one has to be.
fn item_shards(version: &LoadedVersion, shards: &[u32]) -> Result<AskedShards, Status> {
    check_shards(shards).map_err(invalid)?;
    let found: Vec<_> = shards.iter().map(|number| (*number, version.items.get(number).cloned())).collect();
    if found.iter().all(|(_, shard)| shard.is_none()) {
        return Err(shard_missing(&version.name, "item", shards[0]));
    }
    Ok(found)
}

fn describe(shard: &ItemShard, row: usize) -> (String, Vec<String>) {
    let descriptions = shard.descriptions();
    (descriptions.title(row).to_owned(), descriptions.genres(row).map(str::to_owned).collect())
}

fn entity_id(what: &str, id: Option<v1::EntityId>) -> Result<EntityId, Status> {
    let id = id.ok_or(shoal_common::ids::MissingId).and_then(EntityId::try_from);
    id.map_err(|error| Status::invalid_argument(format!("{what}: {error}")))
}

/// Refuses more parts of a request than any router sends.
fn at_most(what: &str, count: usize, most: usize) -> Result<(), Status> {
    if count <= most {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "the request has {count} {what}; at most {most} are answered at once"
    )))
}

fn entity_ids(what: &str, ids: Vec<v1::EntityId>) -> Result<Vec<EntityId>, Status> {
    at_most(what, ids.len(), IDS_MAX)?;
    ids.into_iter().map(|id| entity_id(what, Some(id))).collect()
}

fn invalid(error: QueryError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn not_loaded(version: &str, shard: u32) -> ShardError {
    let reason = format!("this worker has not loaded shard {shard} of version '{version}'");
    ShardError { reason, retryable: true }
}

fn shard_missing(version: &str, side: &str, shard: u32) -> Status {
    version_missing(
        version,
        format!("this worker has not loaded {side} shard {shard} of version '{version}'"),
    )
}

/// When the caller stops waiting.
fn deadline_of<T>(request: &Request<T>) -> Option<Instant> {
    timeout_of(request.metadata()).map(|timeout| Instant::now() + timeout)
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
