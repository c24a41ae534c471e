//! How the contract's parameters and bodies are described; they are read one by one, to name the wrong one.

use utoipa::{IntoParams, ToSchema};

use crate::http::answers::Id;

/// Which movies, and by what order.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct ListQuery {
    /// How many movies.
    #[param(minimum = 1, maximum = 100, default = 10, example = 10)]
    n: Option<u32>,
    /// The scores to order by: `ranking` (what is liked next) or `rating` (what would be rated best, of the movies for
    /// which the model predicts a rating). An `als` version that was trained for ratings alone has no order but theirs;
    /// `ranked_by` of the answer says which it is.
    #[param(pattern = "^(ranking|rating)$", default = "ranking", example = "ranking")]
    rank_by: Option<String>,
    /// Leave out what has been rated.
    #[param(default = true)]
    exclude_seen: Option<bool>,
    /// Only movies of at least one of these genres; letter case does not matter. Values stand between commas, and the
    /// parameter may be repeated; a value with a comma of its own stands in quotation marks: `"Action, Drama",Comedy`.
    #[param(example = json!(["Comedy,Film-Noir"]))]
    genres: Option<Vec<String>>,
    /// No movies of these genres, written as `genres` are.
    #[param(example = json!(["Horror"]))]
    exclude_genres: Option<Vec<String>>,
    /// Only movies released in this year or later.
    #[param(minimum = 0, maximum = 9999, example = 1980)]
    year_min: Option<i32>,
    /// Only movies released in this year or earlier.
    #[param(minimum = 0, maximum = 9999, example = 2005)]
    year_max: Option<i32>,
    /// None of these movies; up to 1,000 ids, written as `genres` are.
    #[param(example = json!(["1,50"]))]
    exclude_ids: Option<Vec<String>>,
    /// Only these movies; up to 1,000 ids, written as `genres` are.
    #[param(example = json!(["1,2,3,50,260"]))]
    allow_ids: Option<Vec<String>>,
    /// How much likeness to the movies before, as the model knows it, counts against a movie's score: 0 not at all, 1 is
    /// all that counts.
    #[param(minimum = 0, maximum = 1, default = 0.0, example = 0.3)]
    diversity: Option<f32>,
}

/// Whose rating of what.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "user_id": 1, "movie_id": 50 }))]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct PredictBody {
    user_id: Id,
    movie_id: Id,
}

/// A movie that was rated or, without a rating, looked at.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct RatedMovieBody {
    movie_id: Id,
    /// On the data set's scale.
    #[schema(nullable = false)]
    rating: Option<f32>,
}

/// What somebody has rated or looked at.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "items": [{ "movie_id": 260, "rating": 5.0 }, { "movie_id": 1196 }] }))]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct ItemsBody {
    /// Each movie once.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<RatedMovieBody>,
}
