//! The JSON of answers: the field names that clients are written against.

use serde_json::{Value, json};
use shoal_common::ids::EntityId;

use crate::query::{Predicted, Recommended, SimilarItems};

fn id(id: &EntityId) -> Value {
    match id {
        EntityId::Integer(value) => json!(value),
        EntityId::Text(text) => json!(text.as_ref()),
    }
}

/// Absent where the version does not predict, never NaN.
fn number(value: f32) -> Value {
    // The shortest text that gives the same f32, rather than the digits of the f64 it becomes.
    value.to_string().parse::<f64>().map_or(Value::Null, |value| json!(value))
}

pub(super) fn recommended(found: Recommended, timestamp: String) -> Value {
    let recommendations = found.recommendations.iter().map(|movie| {
        json!({
            "movie_id": id(&movie.movie),
            "title": movie.title,
            "genres": movie.genres,
            "predicted_rating": movie.predicted_rating.map(number),
            "score": number(movie.score),
            "rank": movie.rank,
        })
    });
    json!({
        "user_id": id(&found.user),
        "recommendations": recommendations.collect::<Vec<_>>(),
        "timestamp": timestamp,
        "model_version": found.model_version,
        "source": found.source,
        "shards": { "total": found.shards.total, "ok": found.shards.ok, "failed": found.shards.failed },
    })
}

pub(super) fn similar(found: SimilarItems, timestamp: String) -> Value {
    let similar_movies = found.similar.iter().map(|movie| {
        json!({
            "movie_id": id(&movie.movie),
            "title": movie.title,
            "genres": movie.genres,
            "similarity": number(movie.similarity),
            "rank": movie.rank,
        })
    });
    json!({
        "movie_id": id(&found.movie),
        "similar_movies": similar_movies.collect::<Vec<_>>(),
        "timestamp": timestamp,
        "model_version": found.model_version,
        "shards": { "total": found.shards.total, "ok": found.shards.ok, "failed": found.shards.failed },
    })
}

pub(super) fn predicted(found: Predicted, timestamp: String) -> Value {
    json!({
        "user_id": id(&found.user),
        "movie_id": id(&found.movie),
        "title": found.title,
        "genres": found.genres,
        "predicted_rating": number(found.predicted_rating),
        "timestamp": timestamp,
        "model_version": found.model_version,
    })
}
