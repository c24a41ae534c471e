//! One list: the shards' best, filtered there, merged, made diverse, cut to the page.

use bytes::Bytes;
use shoal_proto::v1::{
    ItemHit, LookupUserReply, Objective, RankBy, ScoreKind, ShardsAnswered, TopItemsRequest,
};

use super::{
    CheckedOptions, Model, Query, QueryError,
    cursor::REACH,
    recommend::{SOURCE_FALLBACK, SOURCE_MODEL, rank_name},
    shards_answered,
    workers::{Best, floats, numbers},
};
use crate::{diversify::diversify, likeness::Representation, merge::Hit, snapshot::Live};

/// How many times as many items as are listed a diverse list is chosen from, and at most.
const POOL_FACTOR: u32 = 5;
const POOL_MAX: u32 = 500;

/// Which part of a list, and what it is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) offset: u32,
    pub(super) options: &'a CheckedOptions,
}

/// The part.
pub(super) struct List {
    pub(super) hits: Vec<Hit>,
    /// Whether something follows.
    pub(super) more: bool,
    pub(super) shards: ShardsAnswered,
}

impl Query {
    pub(super) async fn list(
        &self,
        request: TopItemsRequest,
        page: Page<'_>,
        explained: bool,
    ) -> Result<List, QueryError> {
        let Page { offset, options } = page;
        let model = self.live()?.model();
        let diverse = options.diversity > 0.0;
        // Scores are explained by what hits carry of their items, or have their parts with them.
        let with_explained = explained && (!self.live()?.has_neighbours() || !request.profile.is_empty());
        let end = offset + options.n;
        let request = TopItemsRequest {
            // One more tells whether something follows.
            n: if diverse { (end * POOL_FACTOR).min(POOL_MAX) } else { (end + 1).min(REACH) },
            filter: options.filter.clone(),
            with_factors: diverse || with_explained,
            with_parts: explained,
            ..request
        };
        let Best { mut hits, failed, total } = self.best_items(request, options.complete).await?;
        let more = hits.len() > end as usize;
        if diverse {
            let scores: Vec<f32> = hits.iter().map(|hit| hit.hit.score).collect();
            let pool: Vec<Representation> = hits.iter().map(|hit| representation(model, &hit.hit)).collect();
            let likeness = |a: usize, b: usize| pool[a].likeness(&pool[b]);
            let chosen = diversify(&scores, likeness, options.n as usize, options.diversity);
            hits = chosen.into_iter().map(|at| hits[at].clone()).collect();
        } else {
            hits.truncate(end as usize);
            hits.drain(..hits.len().min(offset as usize));
        }
        Ok(List { hits, more, shards: shards_answered(total, failed) })
    }
}

/// What a hit says of its item.
pub(super) fn representation(model: Model, hit: &ItemHit) -> Representation {
    match model {
        // Of a blend these are its ALS version's.
        Model::Als | Model::Hybrid => Representation::of_factors(floats(&hit.factors)),
        Model::ItemCf => {
            let rows: Vec<u32> = numbers(&hit.neighbour_rows, u32::from_le_bytes);
            Representation::of_neighbours(hit.row, &rows, &floats(&hit.similarities))
        }
        Model::Content => {
            let features = numbers(&hit.features, u32::from_le_bytes);
            Representation::of_features(features, floats(&hit.feature_values))
        }
    }
}

impl Query {
    /// How to score for somebody with this side of the query, and the answer's source.
    pub(super) async fn score_request(
        &self,
        user: &LookupUserReply,
        rank_by: RankBy,
        exclude_seen: bool,
    ) -> Result<(TopItemsRequest, &'static str), QueryError> {
        let live = self.live()?;
        let (mut request, source) = score_request(live, user, rank_by, exclude_seen)?;
        if live.model() == Model::Content && request.score() == ScoreKind::Rating {
            request.profile = self.profile(user).await?;
        }
        Ok((request, source))
    }
}

/// The same without what has to be asked for: a profile.
fn score_request(
    live: &Live,
    user: &LookupUserReply,
    rank_by: RankBy,
    exclude_seen: bool,
) -> Result<(TopItemsRequest, &'static str), QueryError> {
    let exclude_rows = if exclude_seen { user.seen_items.clone() } else { Bytes::new() };
    if !user.known {
        // A user whose ratings are all held out has seen something all the same.
        let popular = TopItemsRequest {
            score: ScoreKind::Popularity.into(),
            exclude_rows,
            ..TopItemsRequest::default()
        };
        return Ok((popular, SOURCE_FALLBACK));
    }
    if live.has_neighbours() {
        let by_rating = rank_by == RankBy::Rating;
        if by_rating && floats(&user.ratings).iter().all(|rating| rating.is_nan()) {
            let reason = "no movie was given with a rating to predict others from; rank by 'ranking'";
            return Err(QueryError::invalid("rank_by", reason));
        }
        let score = if by_rating { ScoreKind::Rating } else { ScoreKind::Neighbours }.into();
        return Ok((TopItemsRequest { score, exclude_rows, ..neighbours_request(user) }, SOURCE_MODEL));
    }
    if live.model() == Model::Hybrid && rank_by != RankBy::Rating {
        return Ok((TopItemsRequest { exclude_rows, ..blend_request(user) }, SOURCE_MODEL));
    }
    let (has_ranking, has_rating) = (!user.ranking_factors.is_empty(), !user.rating_factors.is_empty());
    let by_rating = match rank_by {
        RankBy::Rating => true,
        RankBy::Ranking => false,
        RankBy::Unspecified => !has_ranking,
    };
    if !(if by_rating { has_rating } else { has_ranking }) {
        let (asked, other) = (rank_name(rank_by), if by_rating { "ranking" } else { "rating" });
        let reason = format!("there are no {asked} factors to rank by; rank by '{other}'");
        return Err(QueryError::invalid("rank_by", reason));
    }
    let request = TopItemsRequest {
        score: if by_rating { ScoreKind::Rating } else { ScoreKind::Ranking }.into(),
        query: if by_rating { Bytes::new() } else { user.ranking_factors.clone() },
        query_objective: Objective::Ranking.into(),
        rating_query: user.rating_factors.clone(),
        rating_bias: user.rating_bias,
        exclude_rows,
        with_predicted_rating: has_rating,
        ..TopItemsRequest::default()
    };
    Ok((request, SOURCE_MODEL))
}

/// How to score by a blend: what each of its versions would be asked with.
fn blend_request(user: &LookupUserReply) -> TopItemsRequest {
    TopItemsRequest {
        score: ScoreKind::Blend.into(),
        query: user.ranking_factors.clone(),
        query_objective: Objective::Ranking.into(),
        rating_query: user.rating_factors.clone(),
        ..neighbours_request(user)
    }
}

/// How to score by the neighbours of what somebody has rated.
pub(super) fn neighbours_request(user: &LookupUserReply) -> TopItemsRequest {
    TopItemsRequest {
        score: ScoreKind::Neighbours.into(),
        rated_rows: user.seen_items.clone(),
        ratings: user.ratings.clone(),
        rating_bias: user.rating_bias,
        with_predicted_rating: true,
        ..TopItemsRequest::default()
    }
}
