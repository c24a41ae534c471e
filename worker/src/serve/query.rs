//! A query for the best items, checked once when it arrives.

use std::sync::Arc;

use bytes::Bytes;
use shoal_proto::v1::{Objective, ScoreKind, TopItemsRequest};

use super::{filter::ItemFilter, rated_items::RatedItems};

/// The most items one query may ask of a shard. The public API asks for at most 100; the rest is
/// room for tools that rank deeper.
pub const N_MAX: u32 = 10_000;

/// A query that cannot be answered; asking again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// How to score was not said.
    #[error("the kind of score is missing")]
    NoScore,
    /// Too many or no items asked for.
    #[error("n is {0}; it must be from 1 to {N_MAX}")]
    N(u32),
    /// No shard, or one twice.
    #[error("the shards asked for must be named, each once")]
    Shards,
    /// The version was not trained for what is asked.
    #[error("the version has no {} factors", objective_name(*objective))]
    NotTrained {
        /// The objective it lacks.
        objective: Objective,
    },
    /// A vector of another rank.
    #[error("'{field}' has {found} elements; the version's rank is {rank}")]
    Length {
        /// The field of the request.
        field: &'static str,
        /// How many elements the request has.
        found: usize,
        /// How many elements the version's factors have.
        rank: usize,
    },
    /// A field is not made of whole elements.
    #[error("'{0}' does not hold whole elements")]
    Torn(&'static str),
    /// A vector with an element that is not finite.
    #[error("'{0}' has an element that is not finite")]
    NotFinite(&'static str),
    /// Excluded rows out of order.
    #[error("'exclude_rows' does not ascend")]
    ExcludeOrder,
    /// A trend without its half-life, or a window that is no time.
    #[error("window_seconds is {0}; it must be above 0 for a trend, and not below 0")]
    Window(i64),
    /// Rated rows out of order, or without a rating each.
    #[error("'rated_rows' does not ascend, or has not one of 'ratings' each")]
    RatedRows,
    /// Listed rows without a score each.
    #[error("'listed_rows' has not one of 'listed_scores' each")]
    ListedRows,
    /// A rated row that is no item.
    #[error("'rated_rows' names row {0}, which the version does not have")]
    RatedRow(u32),
    /// The version has factors instead.
    #[error("the version has no neighbours to score by")]
    NoNeighbours,
    /// The version is of a model that blends no others.
    #[error("the version is no blend of others")]
    NoBlend,
    /// The version does not know what items are.
    #[error("the version has no vectors to make profiles of")]
    NoVectors,
    /// A profile of another version.
    #[error("'profile' has {found} elements; the version's have {width}")]
    Profile {
        /// How many elements the request has.
        found: usize,
        /// How many elements the version's profiles have.
        width: usize,
    },
    /// The filter names an id that is none.
    #[error("the filter has an id that is missing")]
    FilterId,
}

fn objective_name(objective: Objective) -> &'static str {
    match objective {
        Objective::Rating => "rating",
        Objective::Ranking => "ranking",
        Objective::Unspecified => "unspecified",
    }
}

/// A query that every shard of a worker answers alike.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemQuery {
    /// How rows are scored.
    pub score: ScoreKind,
    /// How many per shard.
    pub n: usize,
    /// For [`ScoreKind::Ranking`] and [`ScoreKind::Cosine`], and for a blend, where it may be empty.
    pub vector: Vec<f32>,
    /// Which factors a cosine compares.
    pub objective: Objective,
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
    /// For popularity the window (0 for all time), for a trend the half-life, in seconds.
    pub window_seconds: i64,
    /// Time of the data set's newest rating, seconds since the epoch.
    pub newest_unix_s: i64,
    /// For [`ScoreKind::Neighbours`], [`ScoreKind::Blend`], and ratings that are predicted from neighbours.
    pub rated: RatedItems,
    /// For [`ScoreKind::Listed`] and [`ScoreKind::BlendLikeness`]: global rows and their scores.
    pub listed: Vec<(u32, f32)>,
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
        let score = request.score();
        if score == ScoreKind::Unspecified {
            return Err(QueryError::NoScore);
        }
        if !(1..=N_MAX).contains(&request.n) {
            return Err(QueryError::N(request.n));
        }
        let shortest = i64::from(score == ScoreKind::Trending);
        if request.window_seconds < shortest {
            return Err(QueryError::Window(request.window_seconds));
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
            vector: finite_vector("query", &request.query)?,
            objective: request.query_objective(),
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
            window_seconds: request.window_seconds,
            newest_unix_s: request.newest_unix_s,
            rated: rated_items(&request.rated_rows, &request.ratings)?,
            listed: listed_items(request)?,
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

fn listed_items(request: &TopItemsRequest) -> Result<Vec<(u32, f32)>, QueryError> {
    let rows: Vec<u32> = elements("listed_rows", &request.listed_rows)?;
    let scores = finite_vector("listed_scores", &request.listed_scores)?;
    if rows.len() != scores.len() {
        return Err(QueryError::ListedRows);
    }
    Ok(rows.into_iter().zip(scores).collect())
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

fn finite_vector(field: &'static str, bytes: &Bytes) -> Result<Vec<f32>, QueryError> {
    let vector: Vec<f32> = elements(field, bytes)?;
    if vector.iter().all(|value| value.is_finite()) { Ok(vector) } else { Err(QueryError::NotFinite(field)) }
}

/// A slice as its little-endian bytes.
pub(crate) fn copy<T: bytemuck::NoUninit>(values: &[T]) -> Bytes {
    Bytes::copy_from_slice(bytemuck::cast_slice(values))
}

/// Little-endian elements, wherever the message's buffer put them.
///
/// # Errors
/// When the bytes are not whole elements.
pub(crate) fn elements<T: bytemuck::AnyBitPattern>(
    field: &'static str,
    bytes: &Bytes,
) -> Result<Vec<T>, QueryError> {
    if !bytes.len().is_multiple_of(size_of::<T>()) {
        return Err(QueryError::Torn(field));
    }
    Ok(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> TopItemsRequest {
        TopItemsRequest {
            score: ScoreKind::Ranking.into(),
            n: 5,
            query: bytemuck::cast_slice(&[1.0_f32, 2.0]).to_vec().into(),
            exclude_rows: bytemuck::cast_slice(&[3_u32, 9]).to_vec().into(),
            ..Default::default()
        }
    }

    #[test]
    fn reads_unaligned_vectors() {
        let mut padded = vec![0_u8];
        padded.extend_from_slice(&request().query);
        let query = Bytes::from(padded).slice(1..);
        let read = ItemQuery::from_request(&TopItemsRequest { query, ..request() }).unwrap();
        assert_eq!((read.vector, read.exclude), (vec![1.0, 2.0], vec![3, 9]));
    }

    #[test]
    fn names_what_is_wrong() {
        let cases = [
            (TopItemsRequest { n: 0, ..request() }, QueryError::N(0)),
            (TopItemsRequest { n: N_MAX + 1, ..request() }, QueryError::N(N_MAX + 1)),
            (TopItemsRequest { score: 0, ..request() }, QueryError::NoScore),
            (TopItemsRequest { window_seconds: -1, ..request() }, QueryError::Window(-1)),
            (TopItemsRequest { score: ScoreKind::Trending.into(), ..request() }, QueryError::Window(0)),
            (TopItemsRequest { query: vec![0; 5].into(), ..request() }, QueryError::Torn("query")),
            (
                TopItemsRequest { query: f32::NAN.to_le_bytes().to_vec().into(), ..request() },
                QueryError::NotFinite("query"),
            ),
            (TopItemsRequest { rated_rows: vec![0; 4].into(), ..request() }, QueryError::RatedRows),
            (
                TopItemsRequest {
                    rated_rows: bytemuck::cast_slice(&[9_u32, 9]).to_vec().into(),
                    ratings: vec![0; 8].into(),
                    ..request()
                },
                QueryError::RatedRows,
            ),
            (TopItemsRequest { listed_rows: vec![0; 4].into(), ..request() }, QueryError::ListedRows),
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
