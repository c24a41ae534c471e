//! One list: the shards' best, filtered there, merged, made diverse, cut to the page.

use shoal_common::user_query::{AnswerSource, RankedBy, check_blend_rates, popular_request, score_request};
use shoal_core::ModelKind;
use shoal_proto::v1::{LookupUserReply, RankBy, ShardsAnswered, TopItemsRequest};

use super::{CheckedOptions, cursor::REACH, explain};
use crate::{
    answer::{Explanation, Ranker, Recommendation},
    diversify::diversify,
    error::{Parameter, QueryError},
    likeness::Representation,
    merge::Hit,
    rated_rows::RatedRows,
    shard_calls::{Best, ShardCalls},
    snapshot::Live,
};

/// How many times as many items as are listed a diverse list is chosen from, and at most.
const POOL_FACTOR: u32 = 5;
const POOL_MAX: u32 = 500;

/// Which part of a list, and what it is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) offset: u32,
    pub(super) options: &'a CheckedOptions,
}

/// A page of a list.
pub(super) struct List {
    pub(super) hits: Vec<Hit>,
    /// Whether something follows.
    pub(super) more: bool,
    /// Whether no page of the list has anything.
    pub(super) is_empty: bool,
    pub(super) shards: ShardsAnswered,
    pub(super) unknown_genres: Vec<String>,
}

/// A page of a list for somebody, as answers have it.
pub(super) struct RankedList {
    pub(super) recommendations: Vec<Recommendation>,
    pub(super) source: AnswerSource,
    pub(super) ranked_by: RankedBy,
    pub(super) shards: ShardsAnswered,
    /// Whether something follows.
    pub(super) more: bool,
    /// As the request names them.
    pub(super) unknown_genres: Vec<String>,
}

impl Page<'_> {
    /// What to ask workers for, so that [`Page::cut`] can make the page of it.
    pub(super) fn request(self, request: TopItemsRequest) -> TopItemsRequest {
        let diverse = self.options.diversity > 0.0;
        let end = self.offset + self.options.n;
        TopItemsRequest {
            // One more tells whether something follows.
            n: if diverse { (end * POOL_FACTOR).min(POOL_MAX) } else { (end + 1).min(REACH) },
            filter: self.options.filter.clone(),
            with_factors: diverse,
            ..request
        }
    }

    /// The page, and whether something follows.
    pub(super) fn cut(self, model: ModelKind, mut hits: Vec<Hit>) -> (Vec<Hit>, bool) {
        let Page { offset, options } = self;
        let end = (offset + options.n) as usize;
        let more = hits.len() > end;
        if options.diversity > 0.0 {
            let scores: Vec<f32> = hits.iter().map(|hit| hit.hit.score).collect();
            let pool: Vec<Representation> =
                hits.iter().map(|hit| Representation::of_hit(model, &hit.hit)).collect();
            let likeness = |a: usize, b: usize| pool[a].likeness(&pool[b]);
            let chosen = diversify(&scores, likeness, options.n as usize, options.diversity);
            hits = chosen.into_iter().map(|at| hits[at].clone()).collect();
        } else {
            hits.truncate(end);
            hits.drain(..hits.len().min(offset as usize));
        }
        (hits, more)
    }
}

/// The list for somebody with this side of the query, whoever it is; explained by what was `rated`, where that is given.
pub(super) async fn rank(
    calls: &ShardCalls,
    user: &LookupUserReply,
    page: Page<'_>,
    rated: Option<&RatedRows>,
) -> Result<RankedList, QueryError> {
    let (mut request, mut source) =
        score_request_for(calls, user, page.options.rank_by, page.options.exclude_seen).await?;
    let mut found = list(calls, request.clone(), page, rated.is_some()).await?;
    if let Some(popular) = instead(&request, source, found.is_empty) {
        let fallback = list(calls, popular.clone(), page, false).await?;
        // Where the filter leaves nothing at all, the model has said so.
        if !fallback.is_empty {
            (request, source, found) = (popular, AnswerSource::FallbackPopular, fallback);
        }
    }
    let ranked_by = RankedBy::of(&request);
    let List { hits, more, is_empty: _, shards, unknown_genres } = found;
    let explanations = match rated {
        Some(rated) => explain::explain(calls, &request, source, &hits, rated).await?,
        None => Vec::new(),
    };
    let ranker = ranker(&calls.live, source);
    Ok(RankedList {
        recommendations: recommendations(&calls.live, hits, page.offset, ranker, explanations),
        source,
        ranked_by,
        shards,
        more,
        unknown_genres: page.options.as_given(&unknown_genres),
    })
}

/// A page of what these scores rank. With `explained` the hits carry what their scores are explained by.
pub(super) async fn list(
    calls: &ShardCalls,
    request: TopItemsRequest,
    page: Page<'_>,
    explained: bool,
) -> Result<List, QueryError> {
    // Scores are explained by what hits carry of their items, or have their parts with them.
    let with_explained = explained && (!calls.live.has_neighbours() || !request.profile.is_empty());
    let mut request = page.request(request);
    request.with_factors |= with_explained;
    request.with_parts = explained;
    let Best { hits, shards, unknown_genres } = calls.best_items(request, page.options.complete).await?;
    let is_empty = hits.is_empty();
    let (hits, more) = page.cut(calls.live.model, hits);
    Ok(List { hits, more, is_empty, shards, unknown_genres })
}

/// What to ask for instead of a list of this source that has turned out empty: a model may know somebody and yet nothing
/// that goes with what they have rated.
pub(super) fn instead(
    request: &TopItemsRequest,
    source: AnswerSource,
    is_empty: bool,
) -> Option<TopItemsRequest> {
    (is_empty && source == AnswerSource::Model).then(|| popular_request(request.exclude_rows.clone()))
}

/// How to score for somebody with this side of the query, and the answer's source.
pub(super) async fn score_request_for(
    calls: &ShardCalls,
    user: &LookupUserReply,
    rank_by: RankBy,
    exclude_seen: bool,
) -> Result<(TopItemsRequest, AnswerSource), QueryError> {
    let rates = check_blend_rates(&calls.live.version, user, rank_by);
    rates.map_err(|error| QueryError::invalid(Parameter::RankBy, error))?;
    let request = score_request(calls.live.answers(), user, rank_by, exclude_seen);
    let (mut request, source) = request.map_err(|error| QueryError::invalid(Parameter::RankBy, error))?;
    if calls.live.model == ModelKind::Content && RankedBy::of(&request) == RankedBy::Rating {
        request.profile = calls.profile(user).await?;
    }
    Ok((request, source))
}

/// What ranked a list of this source.
pub(super) fn ranker(live: &Live, source: AnswerSource) -> Ranker {
    if source == AnswerSource::FallbackPopular { Ranker::Popularity } else { Ranker::Model(live.model) }
}

/// Hits as answers have them, the first of them after `offset` others, each with the explanation at its place.
pub(super) fn recommendations(
    live: &Live,
    hits: Vec<Hit>,
    offset: u32,
    ranker: Ranker,
    explanations: Vec<Explanation>,
) -> Vec<Recommendation> {
    let explanations = explanations.into_iter().map(Some).chain(std::iter::repeat(None));
    let of_hit = |((hit, rank), explanation): ((Hit, u32), Option<Explanation>)| Recommendation {
        item: hit.item,
        title: hit.hit.title,
        genres: hit.hit.genres,
        predicted_rating: hit.hit.predicted_rating.map(|rating| live.clamp(rating)),
        score: hit.hit.score,
        rank,
        explanation,
        ranker,
    };
    hits.into_iter().zip(offset + 1..).zip(explanations).map(of_hit).collect()
}
