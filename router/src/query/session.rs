//! The best items for somebody who is no user: what was rated or looked at comes with the request, and the row
//! is solved from it as a half-step of training would.

use std::collections::HashSet;

use shoal_common::{ids::EntityId, user_query::Answers};
use shoal_proto::v1::{LookupItemReply, LookupUserReply};

use super::{
    CheckedOptions, GivenId, Options, Queries,
    explain::fold_in_request,
    list::{Page, RankedList, rank},
};
use crate::{
    answer::Recommended,
    error::{Parameter, QueryError, Reason},
    rated_rows::RatedRows,
    shard_calls::ShardCalls,
    snapshot::{Live, Target},
    wire_numbers::{bytes_of, bytes_of_rows},
};

/// Items that a session may name.
pub const RATED_ITEMS_MAX: usize = 1_000;

/// An item that was rated, or without a rating one of interest.
#[derive(Debug, Clone)]
pub struct RatedItem {
    /// Id of the item, as it was given.
    pub item: GivenId,
    /// On the data set's scale.
    pub rating: Option<f32>,
}

/// What to recommend after what.
#[derive(Debug, Clone)]
pub struct RecommendForItems {
    /// 1 to [`RATED_ITEMS_MAX`], each item once.
    pub items: Vec<RatedItem>,
    /// What the list is to be like; what was named counts as seen.
    pub options: Options,
}

/// A request that was checked for the version that is to answer it.
struct Checked {
    items: Vec<(EntityId, Option<f32>)>,
    options: CheckedOptions,
}

impl Queries {
    /// The best items for somebody who is no user, by what they rated.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend_for_items(&self, request: &RecommendForItems) -> Result<Recommended, QueryError> {
        let check = |live: &Live| {
            let options = request.options.check(live)?;
            Ok(Checked { items: check_items(&request.items, live)?, options })
        };
        let target = Target::model(request.options.model);
        // Folding in costs about as much for fifty items as a list.
        let queries = self.for_lists(1 + request.items.len() / 50, request.options.n);
        queries.run(&target, check, |calls, checked| async move { recommend(&calls, checked).await }).await
    }
}

async fn recommend(calls: &ShardCalls, checked: Checked) -> Result<Recommended, QueryError> {
    let Checked { items, options } = checked;
    let ids: Vec<EntityId> = items.iter().map(|(id, _)| id.clone()).collect();
    let mut known: Vec<(LookupItemReply, f32)> = Vec::new();
    let mut unknown = Vec::new();
    for (found, (id, rating)) in calls.lookup_items_in_order(&ids).await?.into_iter().zip(items) {
        if found.known {
            known.push((found, rating.unwrap_or(f32::NAN)));
        } else {
            unknown.push(id);
        }
    }
    known.sort_by_key(|(item, _)| item.row);
    let (items, ratings): (Vec<LookupItemReply>, Vec<f32>) = known.into_iter().unzip();
    let somebody = solve(calls, &items, &ratings).await?;
    let rows = items.iter().map(|item| item.row).collect();
    let rated = options.explain.then_some(RatedRows { rows, ratings });
    let page = Page { offset: 0, options: &options };
    // One page is all: a cursor would have to carry the session.
    let RankedList { recommendations, source, ranked_by, shards, more: _, unknown_genres } =
        rank(calls, &somebody, page, rated.as_ref()).await?;
    Ok(Recommended {
        user: None,
        recommendations,
        model_version: calls.live.version.name.clone(),
        source,
        ranked_by,
        shards,
        next_cursor: None,
        unknown,
        unknown_genres,
    })
}

/// The side of a query of somebody who has rated these items (in ascending row order).
async fn solve(
    calls: &ShardCalls,
    items: &[LookupItemReply],
    ratings: &[f32],
) -> Result<LookupUserReply, QueryError> {
    let rows: Vec<u32> = items.iter().map(|item| item.row).collect();
    let nobody = LookupUserReply { seen_items: bytes_of_rows(&rows), ..LookupUserReply::default() };
    // ALS knows nothing of an item without training ratings: its factors mean nothing.
    let by_factors = calls.live.answers() == Answers::ByFactors;
    if items.is_empty() || (by_factors && items.iter().all(|item| item.train_count == 0)) {
        return Ok(nobody);
    }
    // A blend has factors where a version that it blends has some.
    let has_factors =
        |item: &LookupItemReply| !(item.ranking_factors.is_empty() && item.rating_factors.is_empty());
    if calls.live.has_neighbours() || (calls.live.needs_ratings() && !items.iter().any(has_factors)) {
        // Nothing is solved: the neighbours of what was rated say it all.
        return Ok(LookupUserReply { known: true, ratings: bytes_of(ratings), ..nobody });
    }
    let folded = calls.fold_in(fold_in_request(calls, items, ratings).await?).await?;
    Ok(LookupUserReply {
        known: true,
        ranking_factors: folded.ranking_factors,
        rating_factors: folded.rating_factors,
        rating_bias: folded.rating_bias,
        ratings: bytes_of(ratings),
        ..nobody
    })
}

fn check_items(items: &[RatedItem], live: &Live) -> Result<Vec<(EntityId, Option<f32>)>, QueryError> {
    if !(1..=RATED_ITEMS_MAX).contains(&items.len()) {
        let reason = Reason::ItemCount { named: items.len(), max: RATED_ITEMS_MAX };
        return Err(QueryError::invalid(Parameter::Items, reason));
    }
    let scale = live.scale().unwrap_or(f32::MIN..=f32::MAX);
    let mut named = HashSet::new();
    let check = |item: &RatedItem| {
        let id = item.item.resolve(live.item_id_kind, Parameter::ItemId)?;
        if let Some(rating) = item.rating.filter(|rating| !scale.contains(rating)) {
            let reason = Reason::OffScale { rating, item: id, min: *scale.start(), max: *scale.end() };
            return Err(QueryError::invalid(Parameter::Rating, reason));
        }
        if !named.insert(id.clone()) {
            return Err(QueryError::invalid(Parameter::Items, Reason::ItemTwice(id)));
        }
        Ok((id, item.rating))
    };
    items.iter().map(check).collect()
}
