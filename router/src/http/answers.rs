//! The JSON of answers: the field names that clients are written against.

use serde::Serialize;
use shoal_common::ids::EntityId;
use shoal_proto::v1::{CacheStats, HealthReply, ShardsAnswered};
use utoipa::ToSchema;

use crate::query::{
    Explanation, PopularMovies, Predicted, Recommendation, Recommended, RecommendedBatch, SimilarItems,
};

/// A number when the data set's ids are integers, else a text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Id {
    Integer(i64),
    Text(String),
}

impl From<&EntityId> for Id {
    fn from(id: &EntityId) -> Self {
        match id {
            EntityId::Integer(value) => Self::Integer(*value),
            EntityId::Text(text) => Self::Text(text.to_string()),
        }
    }
}

/// How many shards of the catalogue the answer is from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Shards {
    total: u32,
    ok: u32,
    /// Movies of these shards are missing from the answer.
    failed: u32,
}

impl From<ShardsAnswered> for Shards {
    fn from(shards: ShardsAnswered) -> Self {
        Self { total: shards.total, ok: shards.ok, failed: shards.failed }
    }
}

/// What a rated movie adds to a score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContributionBody {
    movie_id: Id,
    title: String,
    /// May be below 0.
    contribution: f32,
}

/// What a source of a blend adds to a score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceBody {
    /// `als`, `item_cf`, `content` or `popularity`.
    model: &'static str,
    /// How far up the source's own scores the movie's stands; 0 where the source knows nothing.
    #[schema(minimum = 0, maximum = 1)]
    level: f32,
    /// What the source counts for in the blend.
    weight: f32,
    /// Weight times level.
    contribution: f32,
}

/// Why a score is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplanationBody {
    /// The sum over all rated movies; of `hybrid` over its sources.
    score: f32,
    /// The movies that add most, most first; none for `hybrid`.
    items: Vec<ContributionBody>,
    /// For `hybrid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    sources: Vec<SourceBody>,
}

impl From<&Explanation> for ExplanationBody {
    fn from(explanation: &Explanation) -> Self {
        let items = explanation.items.iter().map(|part| ContributionBody {
            movie_id: (&part.movie).into(),
            title: part.title.clone(),
            contribution: part.contribution,
        });
        let sources = explanation.sources.iter().map(|source| SourceBody {
            model: source.model,
            level: source.level,
            weight: source.weight,
            contribution: source.contribution,
        });
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
    /// From 1.
    #[schema(minimum = 1)]
    rank: u32,
    /// What ranked it: `als`, `item_cf`, `content`, `hybrid` or `popularity`.
    model: &'static str,
    /// With `explain=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    explanation: Option<ExplanationBody>,
}

impl From<&Recommendation> for RecommendationBody {
    fn from(movie: &Recommendation) -> Self {
        Self {
            movie_id: (&movie.movie).into(),
            title: movie.title.clone(),
            genres: movie.genres.clone(),
            predicted_rating: movie.predicted_rating,
            score: movie.score,
            rank: movie.rank,
            model: movie.model,
            explanation: movie.explanation.as_ref().map(Into::into),
        }
    }
}

fn recommendations(movies: &[Recommendation]) -> Vec<RecommendationBody> {
    movies.iter().map(Into::into).collect()
}

/// The answer to a recommend query.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": 1,
    "recommendations": [{
        "movie_id": 260, "title": "Star Wars: Episode IV - A New Hope (1977)",
        "genres": ["Action", "Adventure", "Sci-Fi"], "predicted_rating": 4.62, "score": 0.97, "rank": 1, "model": "als"
    }],
    "timestamp": "2026-11-24T10:15:00.123Z", "model_version": "als_model_v1_20261124_101500",
    "source": "model", "ranked_by": "ranking", "shards": { "total": 16, "ok": 16, "failed": 0 }
}))]
pub(super) struct RecommendAnswer {
    /// Null for somebody who is no user.
    user_id: Option<Id>,
    /// Best first.
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
            source: found.source,
            ranked_by: found.ranked_by,
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
    /// Best first.
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
            source: of.source,
            ranked_by: of.ranked_by,
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
    /// From 1.
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
}

impl SimilarAnswer {
    pub(super) fn new(found: &SimilarItems, timestamp: String) -> Self {
        let similar_movies = found.similar.iter().map(|movie| SimilarBody {
            movie_id: (&movie.movie).into(),
            title: movie.title.clone(),
            genres: movie.genres.clone(),
            similarity: movie.similarity,
            rank: movie.rank,
            model: movie.model,
        });
        Self {
            movie_id: (&found.movie).into(),
            similar_movies: similar_movies.collect(),
            timestamp,
            model_version: found.model_version.clone(),
            shards: found.shards.into(),
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
    /// From 1.
    #[schema(minimum = 1)]
    rank: u32,
}

/// The answer to a popular query.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PopularAnswer {
    /// Best first.
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
    pub(super) fn new(found: &PopularMovies, timestamp: String) -> Self {
        let movies = found.movies.iter().map(|movie| PopularBody {
            movie_id: (&movie.movie).into(),
            title: movie.title.clone(),
            genres: movie.genres.clone(),
            score: movie.score,
            rank: movie.rank,
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
            movie_id: (&found.movie).into(),
            title: found.title.clone(),
            genres: found.genres.clone(),
            predicted_rating: found.predicted_rating,
            timestamp,
            model_version: found.model_version.clone(),
            source: found.source,
        }
    }
}

/// The shards of the live version, of both sides.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShardsServed {
    served: u32,
    total: u32,
}

/// The router's cache of answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CacheStatsBody {
    /// Answers kept.
    size: u64,
    /// Answers kept at most; 0 when there is no cache.
    max_size: u64,
    ttl_hours: f64,
    hits: u64,
    misses: u64,
    /// Answers dropped for room or age.
    evictions: u64,
}

impl From<CacheStats> for CacheStatsBody {
    fn from(stats: CacheStats) -> Self {
        let CacheStats { size, max_size, ttl_hours, hits, misses, evictions } = stats;
        Self { size, max_size, ttl_hours, hits, misses, evictions }
    }
}

/// Whether and how well queries can be answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthAnswer {
    /// `healthy`, `degraded` or `no_model`.
    status: String,
    model_loaded: bool,
    /// The live version; null before the first promote.
    model_version: Option<String>,
    /// ISO 8601, UTC.
    timestamp: String,
    shards: ShardsServed,
    cache_stats: CacheStatsBody,
}

impl From<HealthReply> for HealthAnswer {
    fn from(health: HealthReply) -> Self {
        Self {
            status: health.status,
            model_loaded: health.model_loaded,
            model_version: Some(health.model_version).filter(|version| !version.is_empty()),
            timestamp: health.timestamp,
            shards: ShardsServed { served: health.shards_served, total: health.shards_total },
            cache_stats: health.cache_stats.unwrap_or_default().into(),
        }
    }
}

/// What this service is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IndexAnswer {
    pub(super) service: &'static str,
    pub(super) version: &'static str,
    pub(super) routes: Vec<String>,
}

/// Every refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "detail": "parameter 'n' is not valid: it is 0; it must be a whole number from 1 to 100" }))]
pub(super) struct ErrorAnswer {
    /// What is wrong and what to do, in one sentence.
    pub(super) detail: String,
}
