//! What a user has rated, as the version that answers knows it.
//!
//! Workers keep items and ratings in memory, not times: the answer has no order of time.

use std::collections::HashMap;

use shoal_common::ids::EntityId;
use shoal_proto::v1::LookupItemReply;

use super::{CountRange, GivenId, Queries};
use crate::{
    answer::{Description, RatedItems},
    error::{Parameter, QueryError},
    rated_rows::RatedRows,
    shard_calls::ShardCalls,
    snapshot::{Live, Target},
};

/// How many ratings an answer has.
pub const RATINGS_COUNT: CountRange = CountRange { default: 100, max: 1_000 };

/// Whose ratings are asked for, and how many.
#[derive(Debug, Clone)]
pub struct RatingsOf {
    /// Id of the user, as it was given.
    pub user: GivenId,
    /// How many at most.
    pub n: Option<i64>,
}

impl Queries {
    /// What a user has rated, the highest ratings first.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn ratings(&self, request: &RatingsOf) -> Result<RatedItems, QueryError> {
        let check = |live: &Live| {
            let user = request.user.resolve(live.user_id_kind, Parameter::UserId)?;
            Ok((user, RATINGS_COUNT.check(request.n)?))
        };
        self.run(&Target::default(), check, |calls, (user, n)| async move { ratings(&calls, user, n).await })
            .await
    }
}

async fn ratings(calls: &ShardCalls, user: EntityId, n: u32) -> Result<RatedItems, QueryError> {
    let found = calls.lookup_user(&user, true).await?;
    // One whose ratings were all held out is unknown to the model and has ratings all the same.
    if !found.known && found.seen_items.is_empty() {
        return Err(QueryError::UnknownUser(user));
    }
    let rated = RatedRows::of_user(&found);
    let total = rated.rows.len() as u64;
    let mut pairs: Vec<(u32, f32)> = rated.rows.into_iter().zip(rated.ratings).collect();
    // Those without a rating stand last.
    let height = |rating: f32| if rating.is_nan() { f32::NEG_INFINITY } else { rating };
    pairs.sort_by(|(a_row, a), (b_row, b)| height(*b).total_cmp(&height(*a)).then(a_row.cmp(b_row)));
    pairs.truncate(n as usize);
    let mut rows: Vec<u32> = pairs.iter().map(|(row, _)| *row).collect();
    rows.sort_unstable();
    let found = if rows.is_empty() { Vec::new() } else { calls.lookup_rows(&rows).await? };
    let mut by_row: HashMap<u32, LookupItemReply> = rows.into_iter().zip(found).collect();
    let item = |(row, rating): (u32, f32)| {
        let found = by_row.remove(&row)?;
        let description = Description {
            item: EntityId::try_from(found.item?).ok()?,
            title: found.title,
            genres: found.genres,
            year: found.year,
            ratings: found.ratings,
            popularity: found.damped_mean,
        };
        Some((description, Some(rating).filter(|rating| !rating.is_nan())))
    };
    let items = pairs.into_iter().map(item).collect::<Option<Vec<_>>>();
    let items = items.ok_or_else(|| QueryError::unavailable("a worker did not name an item"))?;
    Ok(RatedItems { user, items, total, model_version: calls.live.version.name.clone() })
}
