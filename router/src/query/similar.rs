//! Items like an item: by the cosine of their factors, by the neighbours that the version has stored, or both.

use bytes::Bytes;
use shoal_common::{ids::EntityId, user_query::Answers};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    ByBlendLikeness, ByCosine, ByList, LookupItemReply, Objective, TopItemsRequest,
    top_items_request::ScoredBy,
};

use super::{CountRange, GivenId, Queries};
use crate::{
    answer::{SimilarItem, SimilarItems},
    error::{Parameter, QueryError},
    shard_calls::{Best, ShardCalls},
    snapshot::{Live, Target},
};

/// How many items may be asked for.
pub const SIMILAR_COUNT: CountRange = CountRange { default: 10, max: 50 };

/// What to look for.
#[derive(Debug, Clone)]
pub struct Similar {
    /// Id of the item, as it was given.
    pub item: GivenId,
    /// How many, 1 to 50; 10 by default.
    pub n: Option<i64>,
    /// Rather no answer than one without some shards.
    pub complete: bool,
    /// Which model finds them; the default one where none is named.
    pub model: Option<ModelKind>,
}

impl Queries {
    /// Finds similar items.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn similar(&self, request: &Similar) -> Result<SimilarItems, QueryError> {
        let check = |live: &Live| {
            let n = SIMILAR_COUNT.check(request.n)?;
            Ok((request.item.resolve(live.item_id_kind, Parameter::ItemId)?, n))
        };
        let target = Target::model(request.model);
        let answer = |calls, (item, n)| async move { similar(&calls, item, n, request.complete).await };
        self.run(&target, check, answer).await
    }
}

async fn similar(
    calls: &ShardCalls,
    item: EntityId,
    n: u32,
    complete: bool,
) -> Result<SimilarItems, QueryError> {
    let found = calls.lookup_item(&item).await?;
    if !found.known {
        return Err(QueryError::UnknownItem(item));
    }
    let live = &calls.live;
    let top_items = match live.answers() {
        Answers::ByFactors => cosine(&found),
        Answers::ByNeighbours => neighbours(found),
        Answers::ByBlend => likeness(&found),
    };
    let Best { hits, shards, .. } = calls.best_items(TopItemsRequest { n, ..top_items }, complete).await?;
    let nothing_known_by = (hits.is_empty() && shards.failed == 0).then_some(live.model);
    let similar = hits.into_iter().zip(1..).map(|(hit, rank)| SimilarItem {
        item: hit.item,
        title: hit.hit.title,
        genres: hit.hit.genres,
        similarity: hit.hit.score,
        rank,
        model: live.model,
    });
    Ok(SimilarItems {
        item,
        similar: similar.collect(),
        nothing_known_by,
        model_version: live.version.name.clone(),
        shards,
    })
}

/// The factors that an item is compared by, and which they are.
fn compared(found: &LookupItemReply) -> (Bytes, Objective) {
    if found.ranking_factors.is_empty() {
        (found.rating_factors.clone(), Objective::Rating)
    } else {
        (found.ranking_factors.clone(), Objective::Ranking)
    }
}

/// By the cosine of factors.
fn cosine(found: &LookupItemReply) -> TopItemsRequest {
    let (query, objective) = compared(found);
    let scored_by = ScoredBy::ByCosine(ByCosine { query, objective: objective.into() });
    without_itself(found, scored_by)
}

/// What each version of a blend calls alike, weighted. ALS knows nothing of an item without training ratings.
fn likeness(found: &LookupItemReply) -> TopItemsRequest {
    let (query, objective) = compared(found);
    let scored_by = ScoredBy::ByBlendLikeness(ByBlendLikeness {
        query: if found.train_count > 0 { query } else { Bytes::new() },
        objective: objective.into(),
        rows: found.neighbour_rows.clone(),
        scores: found.similarities.clone(),
    });
    without_itself(found, scored_by)
}

fn without_itself(found: &LookupItemReply, scored_by: ScoredBy) -> TopItemsRequest {
    let exclude_rows = Bytes::copy_from_slice(&found.row.to_le_bytes());
    TopItemsRequest { scored_by: Some(scored_by), exclude_rows, ..TopItemsRequest::default() }
}

/// The neighbours as they are stored, which the item itself is not one of.
fn neighbours(found: LookupItemReply) -> TopItemsRequest {
    let list = ByList { rows: found.neighbour_rows, scores: found.similarities };
    TopItemsRequest { scored_by: Some(ScoredBy::ByList(list)), ..TopItemsRequest::default() }
}
