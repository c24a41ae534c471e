//! One list: the shards' best, filtered there, merged, made diverse, cut to the page.

use shoal_common::user_query::{Answers, score_request};
use shoal_proto::v1::{ItemHit, LookupUserReply, RankBy, ScoreKind, ShardsAnswered, TopItemsRequest};

use super::{
    CheckedOptions, Model, Query, QueryError,
    cursor::REACH,
    shards_answered,
    workers::{Best, floats, numbers},
};
use crate::{diversify::diversify, likeness::Representation, merge::Hit};

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
    pub(super) fn cut(self, model: Model, mut hits: Vec<Hit>) -> (Vec<Hit>, bool) {
        let Page { offset, options } = self;
        let end = (offset + options.n) as usize;
        let more = hits.len() > end;
        if options.diversity > 0.0 {
            let scores: Vec<f32> = hits.iter().map(|hit| hit.hit.score).collect();
            let pool: Vec<Representation> = hits.iter().map(|hit| representation(model, &hit.hit)).collect();
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

impl Query {
    pub(super) async fn list(
        &self,
        request: TopItemsRequest,
        page: Page<'_>,
        explained: bool,
    ) -> Result<List, QueryError> {
        let live = self.live()?;
        // Scores are explained by what hits carry of their items, or have their parts with them.
        let with_explained = explained && (!live.has_neighbours() || !request.profile.is_empty());
        let mut request = page.request(request);
        request.with_factors |= with_explained;
        request.with_parts = explained;
        let found = self.best_items(request, page.options.complete).await?;
        let Best { hits, failed, total, unknown_genres } = found;
        let (hits, more) = page.cut(live.model(), hits);
        Ok(List { hits, more, shards: shards_answered(total, failed), unknown_genres })
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
        let answers = match live.model() {
            Model::Als => Answers::ByFactors,
            Model::ItemCf | Model::Content => Answers::ByNeighbours,
            Model::Hybrid => Answers::ByBlend,
        };
        let request = score_request(answers, user, rank_by, exclude_seen);
        let (mut request, source) =
            request.map_err(|error| QueryError::invalid("rank_by", error.to_string()))?;
        if live.model() == Model::Content && request.score() == ScoreKind::Rating {
            request.profile = self.profile(user).await?;
        }
        Ok((request, source))
    }
}
