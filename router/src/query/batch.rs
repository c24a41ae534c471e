//! The best movies for many users in one call: their sides are fetched together, and their lists share passes
//! over the factors. Each list is the one that a call for its user alone would get.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::{ids::EntityId, user_query::ranked_by};
use shoal_proto::v1::{LookupUserReply, ShardsAnswered, TopItemsRequest};
use tokio::time::Instant;

use super::{
    CheckedOptions, GivenId, Options, Queries, Query, QueryError, Recommendation, Target, list::Page,
    recommend::model_of_list, shards_answered, workers::BestOfMany,
};
use crate::merge::Hit;

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
    /// What each list is to be like; a batch is not explained.
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
    /// As in a single answer.
    pub ranked_by: &'static str,
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
    /// As in a single answer.
    pub unknown_genres: Vec<String>,
}

impl Queries {
    /// Recommends.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend_batch(&self, request: &RecommendBatch) -> Result<RecommendedBatch, QueryError> {
        let answer = self.run(Target::model(request.options.model), |query| async move {
            query.recommend_batch(request).await
        });
        let answer = answer.await?;
        let unknown_genres = request.options.filter.as_given(&answer.unknown_genres);
        Ok(RecommendedBatch { unknown_genres, ..answer })
    }
}

impl Query {
    async fn recommend_batch(&self, request: &RecommendBatch) -> Result<RecommendedBatch, QueryError> {
        let live = self.live()?;
        let options: CheckedOptions = request.options.check(live)?;
        if options.explain {
            return Err(QueryError::invalid("explain", "only a single list can be asked for with it"));
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
        let page = Page { offset: 0, options: &options };
        let query = |user: LookupUserReply| async move {
            let scored = self.score_request(&user, page.options.rank_by, page.options.exclude_seen).await?;
            Ok::<_, QueryError>((page.request(scored.0), scored.1))
        };
        let queries: Vec<(TopItemsRequest, &'static str)> =
            stream::iter(found).map(query).buffered(PROFILES_MAX).try_collect().await?;
        let (mut results, mut failed_max) = (Vec::with_capacity(users.len()), 0);
        let mut unknown_genres: Option<Vec<String>> = None;
        let hits_each = queries.first().map_or(1, |(request, _)| request.n as usize);
        let pass = (PASS_HITS_MAX / hits_each).clamp(1, PASS_QUERIES_MAX);
        let mut users = users.into_iter();
        for queries in queries.chunks(pass) {
            let requests: Vec<TopItemsRequest> = queries.iter().map(|(request, _)| request.clone()).collect();
            let found = self.best_items_many(requests, options.complete).await?;
            failed_max = failed_max.max(found.failed);
            match &mut unknown_genres {
                // Another pass may have heard of a shard that has it.
                Some(unknown) => unknown.retain(|name| found.unknown_genres.contains(name)),
                None => unknown_genres = Some(found.unknown_genres.clone()),
            }
            let lists = self.cut(found, &options).await?;
            for ((hits, query), user) in lists.into_iter().zip(queries).zip(&mut users) {
                let (request, source) = query;
                let ranked_by = ranked_by(request);
                let recommendations = self.recommendations(hits, 0, model_of_list(live, source));
                results.push(UserRecommendations { user, recommendations, source, ranked_by });
            }
        }
        Ok(RecommendedBatch {
            results,
            model_version: live.version.name.clone(),
            shards: shards_answered(live.item_shards.len(), failed_max),
            unknown_genres: unknown_genres.unwrap_or_default(),
        })
    }

    /// The pages of a pass. Making lists diverse takes milliseconds each, so it happens where it keeps no other query
    /// waiting, and not for a caller who has stopped waiting.
    async fn cut(&self, found: BestOfMany, options: &CheckedOptions) -> Result<Vec<Vec<Hit>>, QueryError> {
        let model = self.live()?.model();
        let cut = move |options: &CheckedOptions| {
            let page = Page { offset: 0, options };
            found.lists.into_iter().map(|hits| page.cut(model, hits).0).collect()
        };
        if options.diversity == 0.0 {
            return Ok(cut(options));
        }
        if Instant::now() >= self.deadline {
            return Err(QueryError::Timeout);
        }
        let options = options.clone();
        let cut = tokio::task::spawn_blocking(move || cut(&options));
        cut.await.or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => {
                let reason = "the router is stopping".to_owned();
                Err(QueryError::Unavailable { reason, stale: false })
            }
        })
    }
}
