//! What each of a user's own movies adds to each score (Hu et al. 2008, section 5), and of a blend each source.
//!
//! The scores explained are those of the row that the version's movies give the user's ratings now: the row that
//! training would solve next. Where training has converged that is the stored row. Where neighbours or a profile make the
//! score, it is split as it was made.

use std::collections::HashMap;

use shoal_common::ids::EntityId;
use shoal_core::profile::weights;
use shoal_proto::v1::{
    FoldInRequest, LookupItemReply, LookupUserReply, Objective, ScoreKind, TopItemsRequest,
};

use super::{
    Model, Query, QueryError,
    list::representation,
    model::POPULARITY,
    workers::{bytes_of, floats, numbers},
};
use crate::{likeness::Representation, merge::Hit};

/// Movies named for each score.
const PARTS_MAX: usize = 5;

/// Movies whose features are asked for in one call, which bounds the messages: one with a genome takes 5 kB.
const FEATURES_MAX: usize = 1_000;

/// What a rated movie adds.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// Which.
    pub movie: EntityId,
    /// Its title.
    pub title: String,
    /// May be below 0.
    pub contribution: f32,
}

/// What a source of a blend adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceContribution {
    /// A model's name or `popularity`.
    pub model: &'static str,
    /// How far up the source's own scores the item's stands: 0 to 1.
    pub level: f32,
    /// What the source counts for.
    pub weight: f32,
    /// The one times the other.
    pub contribution: f32,
}

/// Why a score is what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The sum over all rated movies; of a blend over its sources.
    pub score: f32,
    /// The movies that add most, most first; none of a blend.
    pub items: Vec<Contribution>,
    /// Of a blend, in their order.
    pub sources: Vec<SourceContribution>,
}

/// Rated movies: global rows, ascending, and the ratings.
#[derive(Debug, Clone, Default)]
pub(super) struct RatedRows {
    pub(super) rows: Vec<u32>,
    /// NaN where there is none.
    pub(super) ratings: Vec<f32>,
}

impl RatedRows {
    pub(super) fn of_user(user: &LookupUserReply) -> Self {
        Self { rows: numbers(&user.seen_items, u32::from_le_bytes), ratings: floats(&user.ratings) }
    }

    /// Those that have a rating.
    pub(super) fn with_ratings(&self) -> Self {
        let rated = self.rows.iter().zip(&self.ratings).filter(|(_, rating)| !rating.is_nan());
        let (rows, ratings) = rated.unzip();
        Self { rows, ratings }
    }
}

impl Query {
    /// One explanation for each hit; the hits carry the factors that they were scored by.
    pub(super) async fn explain(
        &self,
        hits: &[Hit],
        rated: &RatedRows,
        by_rating: bool,
    ) -> Result<Vec<Explanation>, QueryError> {
        if hits.is_empty() || rated.rows.is_empty() {
            return Ok(Vec::new());
        }
        let items = self.lookup_rows(&rated.rows).await?;
        let objective = if by_rating { Objective::Rating } else { Objective::Ranking };
        let request = FoldInRequest {
            explain: hits.iter().flat_map(|hit| hit.hit.factors.to_vec()).collect::<Vec<u8>>().into(),
            explain_objective: objective.into(),
            ..self.fold_in_request(&items, &rated.ratings).await?
        };
        let parts = floats(&self.fold_in(request).await?.contributions);
        let movie = |at: usize| {
            let item: &LookupItemReply = &items[at];
            Some((EntityId::try_from(item.item.clone()?).ok()?, item.title.clone()))
        };
        Ok(parts.chunks_exact(items.len()).map(|parts| explanation(parts, movie)).collect())
    }

    /// One explanation for each hit that is ranked by the rating that a profile predicts; the hits carry their items'
    /// features. The profile is a sum over the rated items, so the product with each is a sum too.
    pub(super) async fn explain_by_profile(
        &self,
        hits: &[Hit],
        rated: &RatedRows,
        profile: &[f32],
    ) -> Result<Vec<Explanation>, QueryError> {
        let RatedRows { rows, ratings } = rated.with_ratings();
        let norm = profile.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
        if hits.is_empty() || norm == 0.0 {
            return Ok(Vec::new());
        }
        let items = self.features_of(&rows).await?;
        let scale = self.live()?.version.rating_slope / norm;
        let weights = weights(&ratings);
        let movie = |at: usize| {
            let item: &Hit = &items[at];
            Some((item.item.clone(), item.hit.title.clone()))
        };
        let rated: Vec<Representation> =
            items.iter().map(|item| representation(Model::Content, &item.hit)).collect();
        let of_hit = |hit: &Hit| {
            let item = representation(Model::Content, &hit.hit);
            let part = |(rated, weight): (&Representation, &f32)| {
                (scale * f64::from(*weight) * rated.likeness(&item)) as f32
            };
            let parts: Vec<f32> = rated.iter().zip(&weights).map(part).collect();
            explanation(&parts, movie)
        };
        Ok(hits.iter().map(of_hit).collect())
    }

    /// The items of these ascending global rows with their features, in the same order.
    async fn features_of(&self, rows: &[u32]) -> Result<Vec<Hit>, QueryError> {
        let mut found = Vec::with_capacity(rows.len());
        for rows in rows.chunks(FEATURES_MAX) {
            // What is listed is as it is, whatever ranks.
            let request = TopItemsRequest {
                score: ScoreKind::Listed.into(),
                n: rows.len() as u32,
                listed_rows: rows.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>().into(),
                listed_scores: bytes_of(&vec![1.0; rows.len()]),
                with_factors: true,
                ..TopItemsRequest::default()
            };
            found.extend(self.best_items(request, true).await?.hits);
        }
        found.sort_by_key(|hit| hit.hit.row);
        if found.iter().map(|hit| hit.hit.row).eq(rows.iter().copied()) { Ok(found) } else { Err(missing()) }
    }

    /// One explanation for each hit of a version of neighbours; the hits carry what adds to their scores, or all that adds
    /// to what is expected of user and movie where the score is a predicted rating.
    pub(super) async fn explain_by_neighbours(
        &self,
        hits: &[Hit],
        by_rating: bool,
    ) -> Result<Vec<Explanation>, QueryError> {
        let parts = |hit: &Hit| -> Vec<(u32, f32)> {
            let rows: Vec<u32> = numbers(&hit.hit.part_rows, u32::from_le_bytes);
            rows.into_iter().zip(floats(&hit.hit.parts)).collect()
        };
        let mut rows: Vec<u32> = hits.iter().flat_map(parts).map(|(row, _)| row).collect();
        rows.sort_unstable();
        rows.dedup();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let items = self.lookup_rows(&rows).await?;
        let of_hit = |hit: &Hit| {
            let part = |(row, contribution): (u32, f32)| {
                let item = &items[rows.binary_search(&row).ok()?];
                let movie = EntityId::try_from(item.item.clone()?).ok()?;
                Some(Contribution { movie, title: item.title.clone(), contribution })
            };
            let parts = parts(hit);
            let sum = || parts.iter().map(|part| f64::from(part.1)).sum::<f64>() as f32;
            let score = if by_rating { sum() } else { hit.hit.score };
            let items = parts.iter().copied().filter_map(part).take(PARTS_MAX).collect();
            Explanation { score, items, sources: Vec::new() }
        };
        Ok(hits.iter().map(of_hit).collect())
    }

    /// One explanation for each hit of a blend; the hits carry the levels that were added.
    pub(super) fn explain_by_sources(&self, hits: &[Hit]) -> Result<Vec<Explanation>, QueryError> {
        let sources = self.live()?.version.hybrid.iter().flat_map(|hybrid| &hybrid.sources);
        let sources: Vec<(&'static str, f64)> = sources
            .map(|source| (Model::client_name(&source.model).unwrap_or(POPULARITY), source.weight))
            .collect();
        let of_hit = |hit: &Hit| {
            let levels = floats(&hit.hit.levels);
            let of_sources = sources.iter().zip(levels).map(|(&(model, weight), level)| SourceContribution {
                model,
                level,
                weight: weight as f32,
                contribution: (weight * f64::from(level)) as f32,
            });
            Explanation { score: hit.hit.score, items: Vec::new(), sources: of_sources.collect() }
        };
        Ok(hits.iter().map(of_hit).collect())
    }

    /// What solving takes: the rated items in ascending row order, and the Gramian where it is needed.
    pub(super) async fn fold_in_request(
        &self,
        items: &[LookupItemReply],
        ratings: &[f32],
    ) -> Result<FoldInRequest, QueryError> {
        let joined = |vector: fn(&LookupItemReply) -> &bytes::Bytes| -> bytes::Bytes {
            items.iter().flat_map(|item| vector(item).to_vec()).collect::<Vec<u8>>().into()
        };
        let ranks = items.iter().any(|item| !item.ranking_factors.is_empty());
        let rates = items.iter().any(|item| !item.rating_factors.is_empty());
        let biases: Vec<f32> = items.iter().map(|item| item.rating_bias).collect();
        Ok(FoldInRequest {
            ranking_factors: joined(|item| &item.ranking_factors),
            rating_factors: joined(|item| &item.rating_factors),
            rating_biases: if rates { bytes_of(&biases) } else { bytes::Bytes::new() },
            ratings: bytes_of(ratings),
            gramian: if ranks { self.facts().await?.gramian.clone() } else { bytes::Bytes::new() },
            ..FoldInRequest::default()
        })
    }

    /// The items of these ascending global rows, in the same order.
    async fn lookup_rows(&self, rows: &[u32]) -> Result<Vec<LookupItemReply>, QueryError> {
        let found = self.lookup_rows_unordered(rows).await?;
        let mut by_row: HashMap<u32, LookupItemReply> =
            found.into_iter().map(|item| (item.row, item)).collect();
        rows.iter().map(|row| by_row.remove(row).ok_or_else(missing)).collect()
    }
}

fn missing() -> QueryError {
    QueryError::Unavailable {
        reason: "some of the rated movies' shards do not answer".to_owned(),
        stale: false,
    }
}

/// From what each of the rated movies adds.
fn explanation(parts: &[f32], movie: impl Fn(usize) -> Option<(EntityId, String)>) -> Explanation {
    let score = parts.iter().map(|part| f64::from(*part)).sum::<f64>() as f32;
    let mut order: Vec<usize> = (0..parts.len()).collect();
    // Ties in row order, which a stable sort keeps.
    order.sort_by(|&a, &b| parts[b].total_cmp(&parts[a]));
    let part = |at: usize| {
        let (movie, title) = movie(at)?;
        Some(Contribution { movie, title, contribution: parts[at] })
    };
    let items = order.into_iter().filter_map(part).take(PARTS_MAX).collect();
    Explanation { score, items, sources: Vec::new() }
}
