//! The best movies for somebody who is no user: what was rated or looked at comes with the request, and the row
//! is solved from it as a half-step of training would.

use std::collections::HashSet;

use shoal_common::ids::EntityId;
use shoal_proto::v1::{LookupItemReply, LookupUserReply};

use super::{
    CheckedOptions, GivenId, Options, Queries, Query, QueryError, Recommended, Target, explain::RatedRows,
    list::Page, workers::bytes_of,
};

/// Movies that may be named.
pub const RATED_ITEMS_MAX: usize = 1_000;

/// A movie that was rated, or without a rating one of interest.
#[derive(Debug, Clone)]
pub struct RatedMovie {
    /// Which.
    pub movie: GivenId,
    /// On the data set's scale.
    pub rating: Option<f32>,
}

/// What to recommend after what.
#[derive(Debug, Clone)]
pub struct RecommendForItems {
    /// 1 to [`RATED_ITEMS_MAX`], each movie once.
    pub items: Vec<RatedMovie>,
    /// What the list is to be like; what was named counts as seen.
    pub options: Options,
}

impl Queries {
    /// Recommends.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn recommend_for_items(&self, request: &RecommendForItems) -> Result<Recommended, QueryError> {
        let answer = self.run(Target::model(request.options.model), |query| async move {
            query.recommend_for_items(request).await
        });
        let answer = answer.await?;
        let unknown_genres = request.options.filter.as_given(&answer.unknown_genres);
        Ok(Recommended { unknown_genres, ..answer })
    }
}

impl Query {
    async fn recommend_for_items(&self, request: &RecommendForItems) -> Result<Recommended, QueryError> {
        let options: CheckedOptions = request.options.check(self.live()?)?;
        let items = self.check_items(&request.items)?;
        let ids: Vec<EntityId> = items.iter().map(|(id, _)| id.clone()).collect();
        let mut known: Vec<(LookupItemReply, f32)> = Vec::new();
        let mut unknown = Vec::new();
        for (found, (id, rating)) in self.lookup_items_in_order(&ids).await?.into_iter().zip(items) {
            if found.known {
                known.push((found, rating.unwrap_or(f32::NAN)));
            } else {
                unknown.push(id);
            }
        }
        known.sort_by_key(|(item, _)| item.row);
        let (items, ratings): (Vec<LookupItemReply>, Vec<f32>) = known.into_iter().unzip();
        let somebody = self.solve(&items, &ratings).await?;
        let rows = items.iter().map(|item| item.row).collect();
        let rated = options.explain.then_some(RatedRows { rows, ratings });
        let page = Page { offset: 0, options: &options };
        let answer = self.recommend_to(&somebody, page, rated.as_ref()).await?;
        Ok(Recommended { unknown, next_cursor: None, ..answer })
    }

    /// The side of a query of somebody who has rated these items (in ascending row order).
    async fn solve(&self, items: &[LookupItemReply], ratings: &[f32]) -> Result<LookupUserReply, QueryError> {
        let rows: Vec<u8> = items.iter().flat_map(|item| item.row.to_le_bytes()).collect();
        let nobody = LookupUserReply { seen_items: rows.into(), ..LookupUserReply::default() };
        if items.is_empty() {
            return Ok(nobody);
        }
        if self.live()?.has_neighbours() {
            // Nothing is solved: the neighbours of what was rated say it all.
            return Ok(LookupUserReply { known: true, ratings: bytes_of(ratings), ..nobody });
        }
        let folded = self.fold_in(self.fold_in_request(items, ratings).await?).await?;
        Ok(LookupUserReply {
            known: true,
            ranking_factors: folded.ranking_factors,
            rating_factors: folded.rating_factors,
            rating_bias: folded.rating_bias,
            ratings: bytes_of(ratings),
            ..nobody
        })
    }

    fn check_items(&self, items: &[RatedMovie]) -> Result<Vec<(EntityId, Option<f32>)>, QueryError> {
        if !(1..=RATED_ITEMS_MAX).contains(&items.len()) {
            let reason = format!("it names {} movies; it must name 1 to {RATED_ITEMS_MAX}", items.len());
            return Err(QueryError::invalid("items", reason));
        }
        let live = self.live()?;
        let scale = live.scale().unwrap_or(f32::MIN..=f32::MAX);
        let mut named = HashSet::new();
        let check = |item: &RatedMovie| {
            let id = item.movie.resolve(live.item_id_kind, "movie_id")?;
            if let Some(rating) = item.rating.filter(|rating| !scale.contains(rating)) {
                let (min, max) = (scale.start(), scale.end());
                let reason = format!("it is {rating} for movie {id}; it must be from {min} to {max}");
                return Err(QueryError::invalid("rating", reason));
            }
            if !named.insert(id.clone()) {
                return Err(QueryError::invalid("items", format!("movie {id} is named twice")));
            }
            Ok((id, item.rating))
        };
        items.iter().map(check).collect()
    }
}
