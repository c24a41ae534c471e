//! The JSON of the contract's answers: the field names that existing clients are written against.

use serde::Serialize;
use shoal_core::ModelKind;
use utoipa::ToSchema;

use super::contract_words::WORDS;
use crate::{
    answer::{
        Explanation, PopularItems, Predicted, Recommendation, Recommended, RecommendedBatch, SimilarItems,
    },
    http::answers::{Id, Shards, SourceBody},
};

/// What a rated movie adds to a score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContributionBody {
    movie_id: Id,
    title: String,
    /// May be below 0.
    contribution: f32,
}

/// Why a score is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplanationBody {
    /// The sum over all rated movies; of `hybrid` over its sources.
    score: f32,
    /// The movies that add most, most first; none for `hybrid`.
    items: Vec<ContributionBody>,
    /// What each source of a blend adds; for `hybrid` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    sources: Vec<SourceBody>,
}

impl From<&Explanation> for ExplanationBody {
    fn from(explanation: &Explanation) -> Self {
        let items = explanation.items.iter().map(|part| ContributionBody {
            movie_id: (&part.item).into(),
            title: part.title.clone(),
            contribution: part.contribution,
        });
        let sources = explanation.sources.iter().map(Into::into);
        Self { score: explanation.score, items: items.collect(), sources: sources.collect() }
    }
}

/// A recommended movie.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecommendationBody {
    movie_id: Id,
    title: String,
    genres: Vec<String>,
    /// On the data set's scale; null where the version predicts no ratings.
    predicted_rating: Option<f32>,
    /// What the list is ordered by.
    score: f32,
    /// Place in the list, from 1.
    #[schema(minimum = 1)]
    rank: u32,
    /// What ranked it: `als`, `item_cf`, `content`, `hybrid` or `popularity`.
    model: &'static str,
    /// Only where the request has `explain=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    explanation: Option<ExplanationBody>,
}

impl From<&Recommendation> for RecommendationBody {
    fn from(item: &Recommendation) -> Self {
        Self {
            movie_id: (&item.item).into(),
            title: item.title.clone(),
            genres: item.genres.clone(),
            predicted_rating: item.predicted_rating,
            score: item.score,
            rank: item.rank,
            model: item.ranker.name(),
            explanation: item.explanation.as_ref().map(Into::into),
        }
    }
}

fn recommendations(items: &[Recommendation]) -> Vec<RecommendationBody> {
    items.iter().map(Into::into).collect()
}

/// The answer to a recommend query.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": 1,
    "recommendations": [{
        "movie_id": 260, "title": "Star Wars: Episode IV - A New Hope (1977)",
        "genres": ["Action", "Adventure", "Sci-Fi"], "predicted_rating": 4.62, "score": 0.97, "rank": 1,
        "model": ModelKind::Als.name()
    }],
    "timestamp": "2026-11-24T10:15:00.123Z", "model_version": "als_model_v1_20261124_101500",
    "source": "model", "ranked_by": "ranking", "shards": { "total": 16, "ok": 16, "failed": 0 }
}))]
pub(super) struct RecommendAnswer {
    /// Null for somebody who is no user.
    user_id: Option<Id>,
    /// The movies, best first.
    recommendations: Vec<RecommendationBody>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    /// `model`, `cache` (the model's, kept from an earlier query) or `fallback_popular`.
    source: &'static str,
    /// What the list is ordered by: `ranking` (the model's own order), `rating` (predicted ratings) or, in a fallback,
    /// `popularity`.
    ranked_by: &'static str,
    shards: Shards,
    /// Hand it back as `cursor` for what follows; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// Movies of the request that the version does not know; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_movies: Vec<Id>,
    /// Genres that the filter names and no movie has of the shards that answered; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_genres: Vec<String>,
}

impl RecommendAnswer {
    pub(super) fn new(found: &Recommended, timestamp: String) -> Self {
        Self {
            user_id: found.user.as_ref().map(Into::into),
            recommendations: recommendations(&found.recommendations),
            timestamp,
            model_version: found.model_version.clone(),
            source: found.source.name(),
            ranked_by: found.ranked_by.name(),
            shards: found.shards.into(),
            next_cursor: found.next_cursor.clone(),
            unknown_movies: found.unknown.iter().map(Into::into).collect(),
            unknown_genres: found.unknown_genres.clone(),
        }
    }
}

/// One user's list of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserRecommendationsBody {
    user_id: Id,
    /// The movies, best first.
    recommendations: Vec<RecommendationBody>,
    /// `model` or `fallback_popular`.
    source: &'static str,
    /// What the list is ordered by: `ranking` (the model's own order), `rating` (predicted ratings) or, in a fallback,
    /// `popularity`.
    ranked_by: &'static str,
}

/// The answer to a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchAnswer {
    /// In the order of the request.
    results: Vec<UserRecommendationsBody>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    shards: Shards,
    /// Genres that the filter names and no movie has of the shards that answered; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_genres: Vec<String>,
}

impl BatchAnswer {
    pub(super) fn new(found: &RecommendedBatch, timestamp: String) -> Self {
        let results = found.results.iter().map(|of| UserRecommendationsBody {
            user_id: (&of.user).into(),
            recommendations: recommendations(&of.recommendations),
            source: of.source.name(),
            ranked_by: of.ranked_by.name(),
        });
        Self {
            results: results.collect(),
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
            unknown_genres: found.unknown_genres.clone(),
        }
    }
}

/// A movie like another.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SimilarBody {
    movie_id: Id,
    title: String,
    genres: Vec<String>,
    /// Cosine of the factors, −1 to 1; of `item_cf` and `content` the neighbour's similarity, of `hybrid` the
    /// weighted sum of what its versions say, above 0 to 1.
    similarity: f32,
    /// Place in the list, from 1.
    #[schema(minimum = 1)]
    rank: u32,
    /// What found it: `als`, `item_cf`, `content` or `hybrid`.
    model: &'static str,
}

/// The answer to a similar query.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SimilarAnswer {
    movie_id: Id,
    /// Most similar first, never the movie itself.
    similar_movies: Vec<SimilarBody>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    shards: Shards,
    /// That the model knows of nothing alike; absent where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remark: Option<String>,
}

impl SimilarAnswer {
    pub(super) fn new(found: &SimilarItems, timestamp: String) -> Self {
        let similar_movies = found.similar.iter().map(|item| SimilarBody {
            movie_id: (&item.item).into(),
            title: item.title.clone(),
            genres: item.genres.clone(),
            similarity: item.similarity,
            rank: item.rank,
            model: item.model.name(),
        });
        Self {
            movie_id: (&found.item).into(),
            similar_movies: similar_movies.collect(),
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
            remark: found.nothing_known_by.map(|model| WORDS.nothing_alike(model)),
        }
    }
}

/// A movie of a popular list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PopularBody {
    movie_id: Id,
    title: String,
    genres: Vec<String>,
    /// What the list is ordered by: the damped mean rating, the trend, or the year.
    score: f32,
    /// Place in the list, from 1.
    #[schema(minimum = 1)]
    rank: u32,
}

/// The answer to a popular query.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PopularAnswer {
    /// The movies, best first.
    movies: Vec<PopularBody>,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version whose data set the list is of.
    model_version: String,
    shards: Shards,
    /// Genres that the filter names and no movie has of the shards that answered; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    unknown_genres: Vec<String>,
}

impl PopularAnswer {
    pub(super) fn new(found: &PopularItems, timestamp: String) -> Self {
        let movies = found.items.iter().map(|item| PopularBody {
            movie_id: (&item.item).into(),
            title: item.title.clone(),
            genres: item.genres.clone(),
            score: item.score,
            rank: item.rank,
        });
        Self {
            movies: movies.collect(),
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
            unknown_genres: found.unknown_genres.clone(),
        }
    }
}

/// The answer to a predict query.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictAnswer {
    user_id: Id,
    movie_id: Id,
    title: String,
    genres: Vec<String>,
    /// On the data set's scale.
    predicted_rating: f32,
    /// ISO 8601, UTC.
    timestamp: String,
    /// The version that answered.
    model_version: String,
    /// `model`; or `baseline` where the model had nothing for the pair: then it is the mean with the biases.
    source: &'static str,
}

impl PredictAnswer {
    pub(super) fn new(found: &Predicted, timestamp: String) -> Self {
        Self {
            user_id: (&found.user).into(),
            movie_id: (&found.item).into(),
            title: found.title.clone(),
            genres: found.genres.clone(),
            predicted_rating: found.predicted_rating,
            timestamp,
            model_version: found.model_version.clone(),
            source: found.source.name(),
        }
    }
}
