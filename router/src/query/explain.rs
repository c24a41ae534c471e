//! What each of a user's own items adds to each score (Hu et al. 2008, section 5), and of a blend each source.
//!
//! The scores explained are those of the row that the version's items give the user's ratings now: the row that
//! training would solve next. Where training has converged that is the stored row. Where neighbours or a profile make the
//! score, it is split as it was made.

use shoal_common::{
    ids::EntityId,
    user_query::{AnswerSource, RankedBy},
};
use shoal_core::{ModelKind, profile::weights};
use shoal_proto::v1::{
    ByList, FoldInRequest, HybridSource, LookupItemReply, Objective, TopItemsRequest,
    top_items_request::ScoredBy,
};

use crate::{
    answer::{Contribution, Explanation, SourceContribution},
    error::{QueryError, Reason},
    likeness::Representation,
    merge::Hit,
    rated_rows::RatedRows,
    shard_calls::ShardCalls,
    snapshot::Live,
    wire_numbers::{bytes_of, bytes_of_rows, floats, numbers},
};

/// Items named for each score.
const PARTS_MAX: usize = 5;

/// Items whose features are asked for in one call, which bounds the messages: one with a genome takes 5 kB.
const FEATURES_MAX: usize = 1_000;

/// One explanation for each hit of a list that came from `request`; none where nothing is known of the user.
pub(super) async fn explain(
    calls: &ShardCalls,
    request: &TopItemsRequest,
    source: AnswerSource,
    hits: &[Hit],
    rated: &RatedRows,
) -> Result<Vec<Explanation>, QueryError> {
    let live = &calls.live;
    let by_rating = RankedBy::of(request) == RankedBy::Rating;
    if matches!(request.scored_by, Some(ScoredBy::ByBlend(_))) {
        Ok(by_sources(live, hits))
    } else if by_rating && live.model == ModelKind::Content {
        by_profile(calls, hits, rated, &floats(&request.profile)).await
    } else if source != AnswerSource::Model {
        Ok(Vec::new())
    } else if scored_by_items(live, request) {
        by_neighbours(calls, hits, by_rating).await
    } else {
        by_factors(calls, hits, rated, by_rating).await
    }
}

/// Whether scores are sums over the neighbours of items: of a version of neighbours, and of a blend that ranks by the
/// ratings which its item CF version predicts.
fn scored_by_items(live: &Live, request: &TopItemsRequest) -> bool {
    let by_factors = !request.rating_query.is_empty();
    live.has_neighbours()
        || (live.model == ModelKind::Hybrid && RankedBy::of(request) == RankedBy::Rating && !by_factors)
}

/// One explanation for each hit; the hits carry the factors that they were scored by.
async fn by_factors(
    calls: &ShardCalls,
    hits: &[Hit],
    rated: &RatedRows,
    by_rating: bool,
) -> Result<Vec<Explanation>, QueryError> {
    if hits.is_empty() || rated.rows.is_empty() {
        return Ok(Vec::new());
    }
    let items = calls.lookup_rows(&rated.rows).await?;
    let objective = if by_rating { Objective::Rating } else { Objective::Ranking };
    let request = FoldInRequest {
        explain: hits.iter().flat_map(|hit| hit.hit.factors.to_vec()).collect::<Vec<u8>>().into(),
        explain_objective: objective.into(),
        ..fold_in_request(calls, &items, &rated.ratings).await?
    };
    let parts = floats(&calls.fold_in(request).await?.contributions);
    let named = |at: usize| {
        let item: &LookupItemReply = &items[at];
        Some((EntityId::try_from(item.item.clone()?).ok()?, item.title.clone()))
    };
    Ok(parts.chunks_exact(items.len()).map(|parts| explanation(parts, named)).collect())
}

/// One explanation for each hit that is ranked by the rating that a profile predicts; the hits carry their items'
/// features. The profile is a sum over the rated items, so the product with each is a sum too.
async fn by_profile(
    calls: &ShardCalls,
    hits: &[Hit],
    rated: &RatedRows,
    profile: &[f32],
) -> Result<Vec<Explanation>, QueryError> {
    let RatedRows { rows, ratings } = rated.with_ratings();
    let norm = profile.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    if hits.is_empty() || norm == 0.0 {
        return Ok(Vec::new());
    }
    let items = features_of(calls, &rows).await?;
    let scale = calls.live.version.rating_slope / norm;
    let weights = weights(&ratings);
    let named = |at: usize| {
        let item: &Hit = &items[at];
        Some((item.item.clone(), item.hit.title.clone()))
    };
    let rated: Vec<Representation> =
        items.iter().map(|item| Representation::of_hit(ModelKind::Content, &item.hit)).collect();
    let of_hit = |hit: &Hit| {
        let item = Representation::of_hit(ModelKind::Content, &hit.hit);
        let part = |(rated, weight): (&Representation, &f32)| {
            (scale * f64::from(*weight) * rated.likeness(&item)) as f32
        };
        let parts: Vec<f32> = rated.iter().zip(&weights).map(part).collect();
        explanation(&parts, named)
    };
    Ok(hits.iter().map(of_hit).collect())
}

/// The items of these ascending global rows with their features, in the same order.
async fn features_of(calls: &ShardCalls, rows: &[u32]) -> Result<Vec<Hit>, QueryError> {
    let mut found = Vec::with_capacity(rows.len());
    for rows in rows.chunks(FEATURES_MAX) {
        // What is listed is as it is, whatever ranks.
        let list = ByList { rows: bytes_of_rows(rows), scores: bytes_of(&vec![1.0; rows.len()]) };
        let request = TopItemsRequest {
            scored_by: Some(ScoredBy::ByList(list)),
            n: rows.len() as u32,
            with_factors: true,
            ..TopItemsRequest::default()
        };
        found.extend(calls.best_items(request, true).await?.hits);
    }
    found.sort_by_key(|hit| hit.hit.row);
    if found.iter().map(|hit| hit.hit.row).eq(rows.iter().copied()) { Ok(found) } else { Err(missing()) }
}

/// One explanation for each hit of a version of neighbours; the hits carry what adds to their scores, or all that adds
/// to what is expected of user and item where the score is a predicted rating.
async fn by_neighbours(
    calls: &ShardCalls,
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
    let items = calls.lookup_rows(&rows).await?;
    let of_hit = |hit: &Hit| {
        let part = |(row, contribution): (u32, f32)| {
            let item = &items[rows.binary_search(&row).ok()?];
            let id = EntityId::try_from(item.item.clone()?).ok()?;
            Some(Contribution { item: id, title: item.title.clone(), contribution })
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
fn by_sources(live: &Live, hits: &[Hit]) -> Vec<Explanation> {
    let sources = || live.version.hybrid.iter().flat_map(|hybrid| &hybrid.sources);
    let of_hit = |hit: &Hit| {
        let of_source = |(source, level): (&HybridSource, f32)| SourceContribution {
            model: source_name(&source.model),
            level,
            weight: source.weight as f32,
            contribution: (source.weight * f64::from(level)) as f32,
        };
        let sources = sources().zip(floats(&hit.hit.levels)).map(of_source).collect();
        Explanation { score: hit.hit.score, items: Vec::new(), sources }
    };
    hits.iter().map(of_hit).collect()
}

/// How clients name a source of a blend; popularity, and a model that this release does not know, are named as the
/// version names them.
fn source_name(registered: &str) -> String {
    ModelKind::parse(registered).map_or_else(|_| registered.to_owned(), |model| model.name().to_owned())
}

/// What solving takes: the rated items in ascending row order, and the Gramian where it is needed.
pub(super) async fn fold_in_request(
    calls: &ShardCalls,
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
        gramian: if ranks { calls.catalogue_sums().await?.gramian.clone() } else { bytes::Bytes::new() },
        ..FoldInRequest::default()
    })
}

fn missing() -> QueryError {
    QueryError::unavailable(Reason::RatedItemsSilent)
}

/// From what each of the rated items adds.
fn explanation(parts: &[f32], named: impl Fn(usize) -> Option<(EntityId, String)>) -> Explanation {
    let score = parts.iter().map(|part| f64::from(*part)).sum::<f64>() as f32;
    let mut order: Vec<usize> = (0..parts.len()).collect();
    // Ties in row order, which a stable sort keeps.
    order.sort_by(|&a, &b| parts[b].total_cmp(&parts[a]));
    let part = |at: usize| {
        let (item, title) = named(at)?;
        Some(Contribution { item, title, contribution: parts[at] })
    };
    let items = order.into_iter().filter_map(part).take(PARTS_MAX).collect();
    Explanation { score, items, sources: Vec::new() }
}
