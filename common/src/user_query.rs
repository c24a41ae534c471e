//! How a user is asked about: which score ranks the items for whom, and what it is computed from. Pure, on messages:
//! routers ask workers so one user at a time, and workers ask themselves so for all users at once.

use std::fmt;

use bytes::Bytes;
pub use shoal_core::Answers;
use shoal_core::ModelKind;
use shoal_proto::v1::{
    ByBlend, ByNeighbours, ByPopularity, ByRanking, ByRating, HybridSource, LookupUserReply, ModelVersion,
    RankBy, TopItemsRequest, top_items_request::ScoredBy,
};

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerSource {
    /// The live version of the model that was asked.
    Model,
    /// The model, by an answer that was kept from an earlier query.
    Cache,
    /// What is popular: the model does not know the user, or nothing that goes with what the user has rated.
    FallbackPopular,
    /// The mean with the biases of user and item: the model has nothing for the pair.
    Baseline,
}

impl AnswerSource {
    /// The name in answers and in files of lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Cache => "cache",
            Self::FallbackPopular => "fallback_popular",
            Self::Baseline => "baseline",
        }
    }
}

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankedBy {
    /// The model's own order.
    Ranking,
    /// By ratings that are predicted for the user.
    Rating,
    /// Popularity, in a fallback.
    Popularity,
}

impl RankedBy {
    /// Of the list that this request asks for.
    #[must_use]
    pub fn of(request: &TopItemsRequest) -> Self {
        match request.scored_by {
            Some(ScoredBy::ByRating(_)) => Self::Rating,
            Some(ScoredBy::ByPopularity(_)) => Self::Popularity,
            _ => Self::Ranking,
        }
    }

    /// The name in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ranking => "ranking",
            Self::Rating => "rating",
            Self::Popularity => "popularity",
        }
    }
}

/// A way to rank that does not fit the version or the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotRank {
    /// Nothing that the user has named came with a rating.
    NoRating,
    /// Nothing that the user has named came with a rating, and the version was trained for ratings alone.
    NothingToRankBy,
    /// The version was not trained for ratings.
    NoRatingFactors,
}

impl CannotRank {
    /// The sentence, in which an item is called `item`.
    #[must_use]
    pub fn text(self, item: &str) -> String {
        match self {
            Self::NoRating => format!(
                "no {item} was given with a rating to predict others from; give one, or rank by 'ranking'"
            ),
            Self::NothingToRankBy => {
                format!("no {item} was given with a rating, and the version ranks by ratings alone; give one")
            }
            Self::NoRatingFactors => {
                "the version was trained without the explicit objective and predicts no ratings; rank by \
                 'ranking', or train with --objective both"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for CannotRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text("item"))
    }
}

impl std::error::Error for CannotRank {}

/// How to score for somebody with this side of the query, and the list's source. A version of content that ranks by
/// rating needs the user's profile beside.
///
/// # Errors
/// [`CannotRank`] when the version, or what is known of the user, lacks what ranking so takes.
pub fn score_request(
    answers: Answers,
    user: &LookupUserReply,
    rank_by: RankBy,
    exclude_seen: bool,
) -> Result<(TopItemsRequest, AnswerSource), CannotRank> {
    let exclude_rows = if exclude_seen { user.seen_items.clone() } else { Bytes::new() };
    if !user.known {
        // A user whose ratings are all held out has seen something all the same.
        return Ok((popular_request(exclude_rows), AnswerSource::FallbackPopular));
    }
    let request = match answers {
        Answers::ByFactors => factors_request(user, rank_by)?,
        Answers::ByNeighbours if rank_by != RankBy::Rating => neighbours_request(user),
        Answers::ByBlend if rank_by != RankBy::Rating => blend_request(user),
        // Where its ALS version predicts no ratings, a blend's item CF version does, as for a single item.
        Answers::ByBlend if !user.rating_factors.is_empty() => factors_request(user, rank_by)?,
        Answers::ByBlend | Answers::ByNeighbours if !has_ratings(user) => return Err(CannotRank::NoRating),
        Answers::ByBlend | Answers::ByNeighbours => {
            TopItemsRequest { scored_by: Some(ScoredBy::ByRating(ByRating {})), ..neighbours_request(user) }
        }
    };
    Ok((TopItemsRequest { exclude_rows, ..request }, AnswerSource::Model))
}

/// How to score for somebody to whom the model has nothing to list: what is popular, without these global rows
/// (ascending, little-endian u32).
#[must_use]
pub fn popular_request(exclude_rows: Bytes) -> TopItemsRequest {
    let scored_by = Some(ScoredBy::ByPopularity(ByPopularity::default()));
    TopItemsRequest { scored_by, exclude_rows, ..TopItemsRequest::default() }
}

/// Checks that a blend predicts ratings for somebody with this side of the query, where these are to rank. Versions that
/// blend nothing pass.
///
/// # Errors
/// [`CannotRank::NoRatingFactors`] when neither factors nor neighbours predict any.
pub fn check_blend_rates(
    version: &ModelVersion,
    user: &LookupUserReply,
    rank_by: RankBy,
) -> Result<(), CannotRank> {
    let by_neighbours = |source: &HybridSource| match ModelKind::parse(&source.model) {
        Ok(ModelKind::ItemCf | ModelKind::Ease) => true,
        Ok(ModelKind::Als | ModelKind::Content | ModelKind::Hybrid) | Err(_) => false,
    };
    let Some(hybrid) = version.hybrid.as_ref().filter(|_| rank_by == RankBy::Rating && user.known) else {
        return Ok(());
    };
    let rates = !user.rating_factors.is_empty() || hybrid.sources.iter().any(by_neighbours);
    if rates { Ok(()) } else { Err(CannotRank::NoRatingFactors) }
}

/// How to score by the neighbours of what somebody has rated.
#[must_use]
pub fn neighbours_request(user: &LookupUserReply) -> TopItemsRequest {
    TopItemsRequest {
        scored_by: Some(ScoredBy::ByNeighbours(ByNeighbours {})),
        rated_rows: user.seen_items.clone(),
        ratings: user.ratings.clone(),
        rating_bias: user.rating_bias,
        with_predicted_rating: true,
        ..TopItemsRequest::default()
    }
}

/// How to score by a blend: what each of its versions would be asked with.
fn blend_request(user: &LookupUserReply) -> TopItemsRequest {
    TopItemsRequest {
        scored_by: Some(ScoredBy::ByBlend(ByBlend { query: user.ranking_factors.clone() })),
        rating_query: user.rating_factors.clone(),
        ..neighbours_request(user)
    }
}

/// How to score by factors. A version that was trained for ratings alone has no order but theirs.
fn factors_request(user: &LookupUserReply, rank_by: RankBy) -> Result<TopItemsRequest, CannotRank> {
    let (has_ranking, has_rating) = (!user.ranking_factors.is_empty(), !user.rating_factors.is_empty());
    let by_rating = rank_by == RankBy::Rating || !has_ranking;
    if by_rating && !has_rating {
        // Ratings come with somebody whose row was solved for the query.
        return Err(match (user.ratings.is_empty() || has_ratings(user), has_ranking) {
            (true, _) => CannotRank::NoRatingFactors,
            (false, true) => CannotRank::NoRating,
            (false, false) => CannotRank::NothingToRankBy,
        });
    }
    let scored_by = if by_rating {
        ScoredBy::ByRating(ByRating {})
    } else {
        ScoredBy::ByRanking(ByRanking { query: user.ranking_factors.clone() })
    };
    Ok(TopItemsRequest {
        scored_by: Some(scored_by),
        rating_query: user.rating_factors.clone(),
        rating_bias: user.rating_bias,
        with_predicted_rating: has_rating,
        ..TopItemsRequest::default()
    })
}

/// Whether something came with a rating.
fn has_ratings(user: &LookupUserReply) -> bool {
    let (ratings, _) = user.ratings.as_chunks::<4>();
    ratings.iter().any(|rating| !f32::from_le_bytes(*rating).is_nan())
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::HybridModel;

    use super::*;

    fn known() -> LookupUserReply {
        let rows: Vec<u8> = [3_u32, 9].iter().flat_map(|row| row.to_le_bytes()).collect();
        LookupUserReply { known: true, seen_items: rows.into(), ..LookupUserReply::default() }
    }

    fn floats(values: &[f32]) -> Bytes {
        values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    #[test]
    fn ratings_rank_only_where_there_are_some() {
        let ask = |ratings: &[f32]| {
            let user = LookupUserReply { ratings: floats(ratings), ..known() };
            score_request(Answers::ByNeighbours, &user, RankBy::Rating, true)
                .map(|(ask, _)| RankedBy::of(&ask))
        };
        assert_eq!(ask(&[f32::NAN, f32::NAN]), Err(CannotRank::NoRating));
        assert_eq!(ask(&[f32::NAN, 4.0]), Ok(RankedBy::Rating));
    }

    #[test]
    fn factors_rank_by_what_was_trained() {
        let ask = |ranking: &[f32], rating: &[f32], rank_by| {
            let (ranking_factors, rating_factors) = (floats(ranking), floats(rating));
            let user = LookupUserReply { ranking_factors, rating_factors, ..known() };
            score_request(Answers::ByFactors, &user, rank_by, true).map(|(ask, _)| RankedBy::of(&ask))
        };
        assert_eq!(ask(&[1.0], &[1.0], RankBy::Unspecified), Ok(RankedBy::Ranking));
        for rank_by in [RankBy::Unspecified, RankBy::Ranking, RankBy::Rating] {
            assert_eq!(ask(&[], &[1.0], rank_by), Ok(RankedBy::Rating));
        }
        assert_eq!(ask(&[1.0], &[], RankBy::Rating), Err(CannotRank::NoRatingFactors));
    }

    #[test]
    fn somebody_who_has_rated_nothing_hears_what_is_missing() {
        let ask = |ranking: &[f32], answers| {
            let ranking_factors = floats(ranking);
            let user = LookupUserReply { ranking_factors, ratings: floats(&[f32::NAN]), ..known() };
            score_request(answers, &user, RankBy::Rating, true).unwrap_err()
        };
        assert_eq!(ask(&[1.0], Answers::ByFactors), CannotRank::NoRating);
        assert_eq!(ask(&[], Answers::ByFactors), CannotRank::NothingToRankBy);
        assert_eq!(ask(&[1.0], Answers::ByBlend), CannotRank::NoRating);
    }

    #[test]
    fn a_blend_ranks_by_the_ratings_of_whichever_version_predicts_some() {
        let ask = |rating: &[f32]| {
            let user =
                LookupUserReply { rating_factors: floats(rating), ratings: floats(&[4.0, 1.0]), ..known() };
            let (ask, _) = score_request(Answers::ByBlend, &user, RankBy::Rating, true).unwrap();
            (RankedBy::of(&ask), ask.rating_query.len(), ask.rated_rows.len())
        };
        assert_eq!(ask(&[1.0, 2.0]), (RankedBy::Rating, 8, 0));
        assert_eq!(ask(&[]), (RankedBy::Rating, 0, 8));
    }

    #[test]
    fn a_blend_that_predicts_no_ratings_does_not_rank_by_them() {
        let check = |models: &[&str], rating: &[f32], rank_by| {
            let source =
                |model: &&str| HybridSource { model: (*model).to_owned(), ..HybridSource::default() };
            let hybrid =
                HybridModel { sources: models.iter().map(source).collect(), ..HybridModel::default() };
            let version = ModelVersion { hybrid: Some(hybrid), ..ModelVersion::default() };
            let user = LookupUserReply { rating_factors: floats(rating), ..known() };
            check_blend_rates(&version, &user, rank_by)
        };
        let refused = Err(CannotRank::NoRatingFactors);
        assert_eq!(check(&["als", "content_based", "popularity"], &[], RankBy::Rating), refused);
        assert_eq!(check(&["als", "content_based", "popularity"], &[], RankBy::Ranking), Ok(()));
        assert_eq!(check(&["als", "content_based", "popularity"], &[1.0], RankBy::Rating), Ok(()));
        assert_eq!(check(&["item_cf", "popularity"], &[], RankBy::Rating), Ok(()));
        let (other, unknown) = (ModelVersion::default(), LookupUserReply::default());
        assert_eq!(check_blend_rates(&other, &known(), RankBy::Rating), Ok(()));
        let blend = ModelVersion { hybrid: Some(HybridModel::default()), ..other };
        assert_eq!(check_blend_rates(&blend, &unknown, RankBy::Rating), Ok(()));
        assert_eq!(check_blend_rates(&blend, &known(), RankBy::Rating), refused);
    }

    #[test]
    fn whom_the_version_does_not_know_is_shown_what_is_popular_and_not_seen() {
        let user = LookupUserReply { known: false, ..known() };
        for (exclude_seen, expected) in [(true, user.seen_items.clone()), (false, Bytes::new())] {
            let (ask, source) = score_request(Answers::ByBlend, &user, RankBy::Rating, exclude_seen).unwrap();
            assert_eq!((RankedBy::of(&ask), source), (RankedBy::Popularity, AnswerSource::FallbackPopular));
            assert_eq!(ask.exclude_rows, expected);
        }
    }
}
