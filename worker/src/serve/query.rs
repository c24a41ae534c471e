//! A query for the best items, checked once when it arrives.

use std::sync::Arc;

use bytes::Bytes;
use shoal_proto::v1::TopItemsRequest;

use super::{
    filter::ItemFilter,
    numbers::{elements, finite_vector},
    query_error::{N_MAX, QueryError},
    rated_items::RatedItems,
    score::Score,
};

/// A query that every shard of a worker answers alike.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemQuery {
    /// How rows are scored.
    pub score: Score,
    /// How many per shard.
    pub n: usize,
    /// The user's rating factors; empty when there are none.
    pub rating_vector: Vec<f32>,
    /// The bias of the user in predicted ratings; 0 without rating factors.
    pub rating_bias: f32,
    /// Global rows left out, ascending.
    pub exclude: Vec<u32>,
    /// Whether hits carry the predicted rating.
    pub with_predicted_rating: bool,
    /// What may be listed; queries may share it.
    pub filter: Option<Arc<ItemFilter>>,
    /// Whether hits carry what items are compared by: their factors, or what takes the place of these.
    pub with_factors: bool,
    /// What the user has rated: for [`Score::Neighbours`], [`Score::Blend`], and ratings that are predicted from neighbours.
    pub rated: RatedItems,
    /// Whether hits say which rated items, or which sources of a blend, add to their scores.
    pub with_parts: bool,
    /// The user's profile; empty when there is none.
    pub profile: Vec<f32>,
}

impl ItemQuery {
    /// Reads a request.
    ///
    /// # Errors
    /// When a field is missing, torn or out of range.
    pub fn from_request(request: &TopItemsRequest) -> Result<Self, QueryError> {
        let score = Score::from_request(request)?;
        if !(1..=N_MAX).contains(&request.n) {
            return Err(QueryError::N(request.n));
        }
        let exclude: Vec<u32> = elements("exclude_rows", &request.exclude_rows)?;
        if !exclude.is_sorted() {
            return Err(QueryError::ExcludeOrder);
        }
        if !request.rating_bias.is_finite() {
            return Err(QueryError::NotFinite("rating_bias"));
        }
        Ok(Self {
            score,
            n: request.n as usize,
            rating_vector: finite_vector("rating_query", &request.rating_query)?,
            rating_bias: request.rating_bias,
            exclude,
            with_predicted_rating: request.with_predicted_rating,
            filter: request
                .filter
                .clone()
                .map(ItemFilter::try_from)
                .transpose()
                .map_err(|_| QueryError::FilterId)?
                .map(Arc::new),
            with_factors: request.with_factors,
            rated: rated_items(&request.rated_rows, &request.ratings)?,
            with_parts: request.with_parts,
            profile: finite_vector("profile", &request.profile)?,
        })
    }
}

/// Rated rows and their ratings, as messages have them.
///
/// # Errors
/// When rows do not ascend, or have not a rating each.
pub(crate) fn rated_items(rows: &Bytes, ratings: &Bytes) -> Result<RatedItems, QueryError> {
    let rows: Vec<u32> = elements("rated_rows", rows)?;
    let ratings: Vec<f32> = elements("ratings", ratings)?;
    if rows.len() != ratings.len() || !rows.is_sorted_by(|a, b| a < b) {
        return Err(QueryError::RatedRows);
    }
    // One that is missing is not a number; an infinite one is none either.
    if ratings.iter().any(|rating| rating.is_infinite()) {
        return Err(QueryError::NotFinite("ratings"));
    }
    Ok(RatedItems { rows, ratings })
}

/// Checks the shards that a request names.
///
/// # Errors
/// When there is none, or one twice.
pub fn check_shards(shards: &[u32]) -> Result<(), QueryError> {
    let mut sorted = shards.to_vec();
    sorted.sort_unstable();
    if sorted.is_empty() || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(QueryError::Shards);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{ByRanking, top_items_request::ScoredBy};

    use super::*;

    fn request() -> TopItemsRequest {
        ranked_by(bytemuck::cast_slice(&[1.0_f32, 2.0]).to_vec().into())
    }

    fn ranked_by(query: Bytes) -> TopItemsRequest {
        TopItemsRequest {
            scored_by: Some(ScoredBy::ByRanking(ByRanking { query })),
            n: 5,
            exclude_rows: bytemuck::cast_slice(&[3_u32, 9]).to_vec().into(),
            ..Default::default()
        }
    }

    #[test]
    fn reads_unaligned_vectors() {
        let mut padded = vec![0_u8];
        padded.extend_from_slice(bytemuck::cast_slice(&[1.0_f32, 2.0]));
        let read = ItemQuery::from_request(&ranked_by(Bytes::from(padded).slice(1..))).unwrap();
        assert_eq!((read.score.vector(), read.exclude), (&[1.0, 2.0][..], vec![3, 9]));
    }

    #[test]
    fn names_what_is_wrong() {
        let cases = [
            (TopItemsRequest { n: 0, ..request() }, QueryError::N(0)),
            (TopItemsRequest { n: N_MAX + 1, ..request() }, QueryError::N(N_MAX + 1)),
            (TopItemsRequest { scored_by: None, ..request() }, QueryError::NoScore),
            (ranked_by(vec![0; 5].into()), QueryError::Torn("query")),
            (ranked_by(f32::NAN.to_le_bytes().to_vec().into()), QueryError::NotFinite("query")),
            (TopItemsRequest { rated_rows: vec![0; 4].into(), ..request() }, QueryError::RatedRows),
            (
                TopItemsRequest {
                    rated_rows: bytemuck::cast_slice(&[9_u32, 9]).to_vec().into(),
                    ratings: vec![0; 8].into(),
                    ..request()
                },
                QueryError::RatedRows,
            ),
            (
                TopItemsRequest {
                    exclude_rows: bytemuck::cast_slice(&[9_u32, 3]).to_vec().into(),
                    ..request()
                },
                QueryError::ExcludeOrder,
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(ItemQuery::from_request(&request), Err(expected));
        }
        assert_eq!(check_shards(&[]), Err(QueryError::Shards));
        assert_eq!(check_shards(&[2, 1, 2]), Err(QueryError::Shards));
        assert_eq!(check_shards(&[2, 1]), Ok(()));
    }
}
