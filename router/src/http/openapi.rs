//! The API's description: OpenAPI 3.1 made from the handlers and their types, and a page to try it on, whose
//! assets are compiled in.
//!
//! Parameters are read one by one, to name the wrong one; the structs here only describe them.

use utoipa::{IntoParams, IntoResponses, OpenApi};

use super::answers::ErrorAnswer;

/// Where the page is.
pub(super) const DOCS_PATH: &str = "/docs";
/// Where the description is.
pub(super) const OPENAPI_PATH: &str = "/openapi.json";

/// The description without its routes, which are added as they are registered.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Shoal",
        description = "Recommendations from a cluster. Every refusal is `{\"detail\": \"…\"}`; every answer carries \
            `x-request-id`, the request's own or a new one. An answer is wholly of the version that it names.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    // Answers in an enum bring no schemas of their own.
    components(schemas(ErrorAnswer)),
    tags(
        (name = "recommendations", description = "Lists for users, for sessions, and for nobody in particular"),
        (name = "service", description = "The service itself"),
    ),
)]
pub(super) struct Description;

/// How long and how complete.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct CallQuery {
    /// Rather 503 than an answer without some shards.
    #[param(default = false)]
    complete: Option<bool>,
    /// How long the query may take in all; the router's own setting, 1,000 unless it was changed, by default.
    #[param(minimum = 1, maximum = 60000, example = 500)]
    timeout_ms: Option<u32>,
}

/// By which model.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct ModelQuery {
    /// `als` (factors), `item_cf` (movies rated alike), `content` (movies with features alike) or `hybrid` (a
    /// blend of these and popularity). By default the model that was made the default.
    #[param(pattern = "^(als|item_cf|content|content_based|hybrid)$", example = "als")]
    model: Option<String>,
}

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

/// What a single list may be made into.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct SingleQuery {
    /// Say what each of the rated movies adds to each score; of `hybrid` what each of its sources adds.
    #[param(default = false)]
    explain: Option<bool>,
}

/// What only a user's list has.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct UserQuery {
    /// Whether the answer may be one that was kept, and may be kept.
    #[param(default = true)]
    use_cache: Option<bool>,
    /// `next_cursor` of the answer before, with that request's other parameters.
    cursor: Option<String>,
}

/// Refusals that any query may get.
#[derive(Debug, IntoResponses)]
#[allow(dead_code, reason = "it describes answers")]
pub(super) enum Refusals {
    /// A parameter or field is wrong or unknown; it is named with its range.
    #[response(status = 400)]
    Invalid(ErrorAnswer),
    /// The version of the cursor is no longer served.
    #[response(status = 410)]
    Gone(ErrorAnswer),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorAnswer),
    /// Too much is under way; come back after `Retry-After`.
    #[response(status = 429)]
    Overloaded(ErrorAnswer),
    /// No model is live yet, or not the one asked for, or shards that are needed do not answer; come back after `Retry-After`.
    #[response(status = 503)]
    Unavailable(ErrorAnswer),
    /// The time was up; come back after `Retry-After`.
    #[response(status = 504)]
    Timeout(ErrorAnswer),
}

/// What was asked about is not there.
#[derive(Debug, IntoResponses)]
#[allow(dead_code, reason = "it describes answers")]
pub(super) enum NotFound {
    /// The version knows no such movie or user.
    #[response(status = 404)]
    Unknown(ErrorAnswer),
}
