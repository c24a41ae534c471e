//! The best items for many users in one call: their sides are fetched together, and their lists share passes
//! over the factors. Each list is the one that a call for its user alone would get.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use shoal_common::{
    ids::EntityId,
    user_query::{AnswerSource, RankedBy},
};
use shoal_proto::v1::{LookupUserReply, ShardsAnswered, TopItemsRequest};
use tokio::time::Instant;

use super::{
    CheckedOptions, GivenId, Options, Queries,
    list::{Page, instead, ranker, recommendations, score_request_for},
};
use crate::{
    answer::{RecommendedBatch, UserRecommendations},
    error::{Parameter, QueryError},
    merge::Hit,
    shard_calls::{BestOfMany, ShardCalls},
    snapshot::{Live, Target},
};

/// Users of one call.
pub const BATCH_USERS_MAX: usize = 1_000;
/// How long a batch may take, where it is not said and queries may not take longer anyway.
pub const BATCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Lists that share a pass: their factors' blocks and selections fit the cache together.
const PASS_QUERIES_MAX: usize = 64;
/// Users whose profiles are asked for at a time, where a list takes one.
const PROFILES_MAX: usize = 16;
/// Bytes of the queries of one call, unless one query has more.
const PASS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Hits asked for in one call to a shard, which bounds the messages.
const PASS_HITS_MAX: usize = 3_200;

/// What to recommend to whom.
#[derive(Debug, Clone)]
pub struct RecommendBatch {
    /// The users, 1 to [`BATCH_USERS_MAX`].
    pub users: Vec<GivenId>,
    /// What each list is to be like; a batch is not explained.
    pub options: Options,
}

impl RecommendBatch {
    fn check(&self, live: &Live) -> Result<(Vec<EntityId>, CheckedOptions), QueryError> {
        let options = self.options.check(live)?;
        if options.explain {
            return Err(QueryError::invalid(
                Parameter::Explain,
                "only a single list can be asked for with it",
            ));
        }
        let named = self.users.len();
        if !(1..=BATCH_USERS_MAX).contains(&named) {
            let reason = format!("it names {named} users; it must name 1 to {BATCH_USERS_MAX}");
            return Err(QueryError::invalid(Parameter::UserIds, reason));
        }
        let users = self.users.iter().map(|user| user.resolve(live.user_id_kind, Parameter::UserIds));
        Ok((users.collect::<Result<_, _>>()?, options))
    }
}

impl Queries {
    /// Lists for several users, in the order of the request.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend_batch(&self, request: &RecommendBatch) -> Result<RecommendedBatch, QueryError> {
        let check = |live: &Live| request.check(live);
        let target = Target::model(request.options.model);
        let answer = |calls, (users, options)| async move { recommend_batch(&calls, users, &options).await };
        let queries = self.for_lists(request.users.len(), Some(request.options.n.unwrap_or(10)));
        queries.run(&target, check, answer).await
    }
}

async fn recommend_batch(
    calls: &ShardCalls,
    users: Vec<EntityId>,
    options: &CheckedOptions,
) -> Result<RecommendedBatch, QueryError> {
    let live = &calls.live;
    let found = calls.lookup_users_in_order(&users, live.needs_ratings()).await?;
    let page = Page { offset: 0, options };
    let query = |user: LookupUserReply| async move {
        let (request, source) =
            score_request_for(calls, &user, options.rank_by, options.exclude_seen).await?;
        Ok::<_, QueryError>((page.request(request), source))
    };
    let queries: Vec<(TopItemsRequest, AnswerSource)> =
        stream::iter(found).map(query).buffered(PROFILES_MAX).try_collect().await?;
    let mut results = Vec::with_capacity(users.len());
    let mut shards: Option<ShardsAnswered> = None;
    let mut unknown_genres: Option<Vec<String>> = None;
    let hits_each = queries.first().map_or(1, |(request, _)| request.n as usize);
    let pass = (PASS_HITS_MAX / hits_each).clamp(1, PASS_QUERIES_MAX);
    let mut users = users.into_iter();
    for queries in passes(&queries, pass) {
        let mut queries = queries.to_vec();
        let found = best_or_popular(calls, &mut queries, page).await?;
        let worst = shards.filter(|before| before.failed > found.shards.failed);
        shards = Some(worst.unwrap_or(found.shards));
        match &mut unknown_genres {
            // Another pass may have heard of a shard that has it.
            Some(unknown) => unknown.retain(|name| found.unknown_genres.contains(name)),
            None => unknown_genres = Some(found.unknown_genres.clone()),
        }
        let lists = cut(calls, found, options).await?;
        for ((hits, (request, source)), user) in lists.into_iter().zip(queries).zip(&mut users) {
            results.push(UserRecommendations {
                user,
                recommendations: recommendations(live, hits, 0, ranker(live, source), Vec::new()),
                source,
                ranked_by: RankedBy::of(&request),
            });
        }
    }
    Ok(RecommendedBatch {
        results,
        model_version: live.version.name.clone(),
        // A batch has a user, so there was a pass.
        shards: shards.unwrap_or_default(),
        unknown_genres: options.as_given(&unknown_genres.unwrap_or_default()),
    })
}

/// Queries in passes of at most so many, whose messages a worker takes.
fn passes(
    mut queries: &[(TopItemsRequest, AnswerSource)],
    pass: usize,
) -> impl Iterator<Item = &[(TopItemsRequest, AnswerSource)]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(request, _): &&(TopItemsRequest, AnswerSource)| {
            bytes += request.encoded_len();
            bytes <= PASS_BYTES_MAX
        };
        let fitting = queries.iter().take(pass).take_while(fits).count().max(1);
        let (first, rest) = queries.split_at_checked(fitting)?;
        queries = rest;
        Some(first)
    })
}

/// The hits of a pass. A query to which the model has nothing to list becomes one for what is popular, as a single user's
/// does.
async fn best_or_popular(
    calls: &ShardCalls,
    queries: &mut [(TopItemsRequest, AnswerSource)],
    page: Page<'_>,
) -> Result<BestOfMany, QueryError> {
    let complete = page.options.complete;
    let requests = queries.iter().map(|(request, _)| request.clone()).collect();
    let mut found = calls.best_items_many(requests, complete).await?;
    let fallback = |((request, source), hits): (&(TopItemsRequest, AnswerSource), &Vec<Hit>)| {
        instead(request, *source, hits.is_empty()).map(|popular| page.request(popular))
    };
    let fallbacks: Vec<Option<TopItemsRequest>> = queries.iter().zip(&found.lists).map(fallback).collect();
    let requests: Vec<TopItemsRequest> = fallbacks.iter().flatten().cloned().collect();
    if requests.is_empty() {
        return Ok(found);
    }
    let popular = calls.best_items_many(requests, complete).await?;
    if popular.shards.failed > found.shards.failed {
        found.shards = popular.shards;
    }
    let mut lists = popular.lists.into_iter();
    for ((query, list), fallback) in queries.iter_mut().zip(&mut found.lists).zip(fallbacks) {
        let Some(request) = fallback else { continue };
        // Where the filter leaves nothing at all, the model has said so.
        if let Some(popular) = lists.next().filter(|popular| !popular.is_empty()) {
            (*query, *list) = ((request, AnswerSource::FallbackPopular), popular);
        }
    }
    Ok(found)
}

/// The pages of a pass. Making lists diverse takes milliseconds each, so it happens where it keeps no other query
/// waiting, and not for a caller who has stopped waiting.
async fn cut(
    calls: &ShardCalls,
    found: BestOfMany,
    options: &CheckedOptions,
) -> Result<Vec<Vec<Hit>>, QueryError> {
    let model = calls.live.model;
    let cut = move |options: &CheckedOptions| {
        let page = Page { offset: 0, options };
        found.lists.into_iter().map(|hits| page.cut(model, hits).0).collect()
    };
    if options.diversity == 0.0 {
        return Ok(cut(options));
    }
    if Instant::now() >= calls.deadline {
        return Err(QueryError::Timeout);
    }
    let options = options.clone();
    let cut = tokio::task::spawn_blocking(move || cut(&options));
    cut.await.or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(QueryError::unavailable("the router is stopping")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_have_few_queries_and_few_bytes() {
        let query = |bytes: usize| {
            (
                TopItemsRequest { exclude_rows: vec![0; bytes].into(), ..TopItemsRequest::default() },
                AnswerSource::Model,
            )
        };
        let sizes = |queries: &[(TopItemsRequest, AnswerSource)], pass| {
            passes(queries, pass).map(<[_]>::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&vec![query(1); 5], 2), [2, 2, 1]);
        let large = vec![query(1), query(3 << 20), query(3 << 20), query(5 << 20), query(1)];
        assert_eq!(sizes(&large, 64), [2, 1, 1, 1]);
        assert!(sizes(&[], 64).is_empty());
    }
}
