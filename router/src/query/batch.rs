//! The best movies for many users in one call: their sides are fetched together, and their lists share passes
//! over the factors.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::ids::EntityId;
use shoal_proto::v1::{LookupUserReply, ShardsAnswered, TopItemsRequest};

use super::{
    CheckedOptions, GivenId, Options, Queries, Query, QueryError, Recommendation, Target,
    recommend::ranked_by, shards_answered,
};

/// Users of one call.
pub const BATCH_USERS_MAX: usize = 1_000;
/// How long a batch may take, where it is not said and queries may not take longer anyway.
pub const BATCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Lists that share a pass: their factors' blocks and selections fit the cache together.
const PASS_QUERIES_MAX: usize = 64;
/// Users whose profiles are asked for at a time, where a list takes one.
const PROFILES_MAX: usize = 16;
/// Hits asked for in one call to a shard, which bounds the messages.
const PASS_HITS_MAX: usize = 3_200;

/// What to recommend to whom.
#[derive(Debug, Clone)]
pub struct RecommendBatch {
    /// 1 to [`BATCH_USERS_MAX`].
    pub users: Vec<GivenId>,
    /// What each list is to be like; batches are neither explained nor made diverse.
    pub options: Options,
}

/// One user's list.
#[derive(Debug, Clone)]
pub struct UserRecommendations {
    /// The user.
    pub user: EntityId,
    /// Best first.
    pub recommendations: Vec<Recommendation>,
    /// As in a single answer.
    pub source: &'static str,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct RecommendedBatch {
    /// In the order of the request.
    pub results: Vec<UserRecommendations>,
    /// The version that answered.
    pub model_version: String,
    /// Item shards asked: the worst of all passes.
    pub shards: ShardsAnswered,
}

impl Queries {
    /// Recommends.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend_batch(&self, request: &RecommendBatch) -> Result<RecommendedBatch, QueryError> {
        self.run(
            Target::model(request.options.model),
            |query| async move { query.recommend_batch(request).await },
        )
        .await
    }
}

impl Query {
    async fn recommend_batch(&self, request: &RecommendBatch) -> Result<RecommendedBatch, QueryError> {
        let live = self.live()?;
        let options: CheckedOptions = request.options.check(live)?;
        let single = [("explain", options.explain), ("diversity", options.diversity > 0.0)];
        if let Some((parameter, _)) = single.into_iter().find(|(_, asked)| *asked) {
            return Err(QueryError::invalid(parameter, "only a single list can be asked for with it"));
        }
        if !(1..=BATCH_USERS_MAX).contains(&request.users.len()) {
            let reason =
                format!("it names {} users; it must name 1 to {BATCH_USERS_MAX}", request.users.len());
            return Err(QueryError::invalid("user_ids", reason));
        }
        let users: Vec<EntityId> = request
            .users
            .iter()
            .map(|user| user.resolve(live.user_id_kind, "user_ids"))
            .collect::<Result<_, _>>()?;
        let found = self.lookup_users_in_order(&users, live.needs_ratings()).await?;
        let options = &options;
        let query = |user: LookupUserReply| async move {
            let (request, source) = self.score_request(&user, options.rank_by, options.exclude_seen).await?;
            let filter = options.filter.clone();
            Ok::<_, QueryError>((TopItemsRequest { n: options.n, filter, ..request }, source))
        };
        let queries: Vec<(TopItemsRequest, &'static str)> =
            stream::iter(found).map(query).buffered(PROFILES_MAX).try_collect().await?;
        let (mut results, mut failed_max) = (Vec::with_capacity(users.len()), 0);
        let pass = (PASS_HITS_MAX / options.n as usize).clamp(1, PASS_QUERIES_MAX);
        let mut users = users.into_iter();
        for queries in queries.chunks(pass) {
            let requests: Vec<TopItemsRequest> = queries.iter().map(|(request, _)| request.clone()).collect();
            let (lists, failed) = self.best_items_many(requests, options.complete).await?;
            failed_max = failed_max.max(failed);
            for ((hits, (_, source)), user) in lists.into_iter().zip(queries).zip(&mut users) {
                let recommendations = self.recommendations(hits, 0, ranked_by(live, source));
                results.push(UserRecommendations { user, recommendations, source });
            }
        }
        Ok(RecommendedBatch {
            results,
            model_version: live.version.name.clone(),
            shards: shards_answered(live.item_shards.len(), failed_max),
        })
    }
}
