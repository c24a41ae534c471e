//! The contract that existing clients have: `/recommendations/…`, of movies and genres. Its paths, names and sentences do
//! not change.

mod answers;
mod contract_words;
mod description;

use axum::{
    extract::RawQuery,
    response::{Json, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    answers::{BatchAnswer, PopularAnswer, PredictAnswer, RecommendAnswer, SimilarAnswer},
    contract_words::WORDS,
    description::{ItemsBody, ListQuery, PredictBody},
};
use super::{
    answers::{HealthAnswer, IndexAnswer},
    api::Api,
    bodies::BatchBody,
    error::HttpError,
    measure::sourced,
    openapi::{CallQuery, ModelQuery, NotFound, Refusals, SingleQuery, UserQuery},
    parameters::Parameters,
    requests::{Body, PathId, one_category, path_id},
    service,
};
use crate::answer::Recommended;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(index))
        .routes(routes!(health))
        .routes(routes!(recommend))
        .routes(routes!(recommend_named, recommend_for_items))
        .routes(routes!(recommend_batch))
        .routes(routes!(popular))
        .routes(routes!(similar))
        .routes(routes!(similar_named))
        .routes(routes!(predict))
        .route("/recommendations", axum::routing::get(index))
}

/// What this service is and which routes it has.
#[utoipa::path(
    get, path = "/recommendations/", tag = "service",
    responses((status = 200, body = IndexAnswer)),
)]
async fn index(api: Api, RawQuery(query): RawQuery) -> Result<Json<IndexAnswer>, HttpError> {
    service::index(&api, query.as_deref())
}

/// Whether and how well queries can be answered. The status is 200 for as long as the process answers, whatever it says:
/// see `/readyz` for a check of readiness.
#[utoipa::path(
    get, path = "/recommendations/health", tag = "service",
    responses((status = 200, body = HealthAnswer)),
)]
async fn health(api: Api, RawQuery(query): RawQuery) -> Result<Json<HealthAnswer>, HttpError> {
    service::health(&api, query.as_deref())
}

/// The best movies for a user; for one whom the model does not know, what is popular.
#[utoipa::path(
    get, path = "/recommendations/recommend/{user_id}", tag = "movies",
    params(
        ("user_id" = String, Path, description = "The user's id", example = "1"),
        ListQuery, ModelQuery, SingleQuery, UserQuery, CallQuery,
    ),
    responses((status = 200, body = RecommendAnswer), Refusals, NotFound),
)]
async fn recommend(api: Api, user_id: PathId, RawQuery(query): RawQuery) -> Result<Response, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.recommend(path_id(user_id)?, parameters).await?;
    Ok(api.answer_recommended(&found))
}

/// As `/recommendations/recommend/{user_id}`, for any user: an id that is empty, `.` or `..` has no path of its own.
#[utoipa::path(
    get, path = "/recommendations/recommend", tag = "movies",
    params(
        ("user_id" = String, Query, description = "The user's id", example = "1"),
        ListQuery, ModelQuery, SingleQuery, UserQuery, CallQuery,
    ),
    responses((status = 200, body = RecommendAnswer), Refusals, NotFound),
)]
async fn recommend_named(api: Api, RawQuery(query): RawQuery) -> Result<Response, HttpError> {
    let mut parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let user = parameters.id("user_id")?;
    let found = api.recommend(user, parameters).await?;
    Ok(api.answer_recommended(&found))
}

impl Api {
    fn answer_recommended(&self, found: &Recommended) -> Response {
        sourced(found.source, RecommendAnswer::new(found, self.queries.timestamp()))
    }
}

/// The best movies for somebody who is no user, from what was rated or looked at.
#[utoipa::path(
    post, path = "/recommendations/recommend", tag = "movies",
    params(ListQuery, ModelQuery, SingleQuery, CallQuery),
    request_body = ItemsBody,
    responses((status = 200, body = RecommendAnswer), Refusals),
)]
async fn recommend_for_items(api: Api, RawQuery(query): RawQuery, body: Body) -> Result<Response, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.recommend_for_items(body, parameters).await?;
    Ok(api.answer_recommended(&found))
}

/// The best movies for up to 1,000 users, whose lists share passes over the factors. By default a batch may take
/// ten seconds.
#[utoipa::path(
    post, path = "/recommendations/batch", tag = "movies",
    params(ListQuery, ModelQuery, CallQuery),
    request_body = BatchBody,
    responses((status = 200, body = BatchAnswer), Refusals),
)]
async fn recommend_batch(
    api: Api,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<BatchAnswer>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.recommend_batch(body, parameters).await?;
    Ok(Json(BatchAnswer::new(&found, api.queries.timestamp())))
}

/// What is liked, on the rise, or new. Time counts back from the data set's newest rating.
#[utoipa::path(
    get, path = "/recommendations/popular", tag = "movies",
    params(
        ("n" = Option<u32>, Query, description = "How many movies",
            minimum = 1, maximum = 100, example = 10),
        ("order" = Option<String>, Query, description = "`popular` (damped mean rating, the default), `trending` \
            (ratings count half for each half-life of their age) or `latest` (year of release)",
            pattern = "^(popular|trending|latest)$", example = "trending"),
        ("genre" = Option<String>, Query, description = "Only movies of this genre", example = "Comedy"),
        ("window" = Option<String>, Query, description = "Only ratings of so many days; of a trend the half-life, \
            30d by default", pattern = "^[0-9]+d$", example = "365d"),
        CallQuery,
    ),
    responses((status = 200, body = PopularAnswer), Refusals),
)]
async fn popular(api: Api, RawQuery(query): RawQuery) -> Result<Json<PopularAnswer>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.popular(parameters, |parameters| one_category(parameters, "genre")).await?;
    Ok(Json(PopularAnswer::new(&found, api.queries.timestamp())))
}

/// Movies like a movie.
#[utoipa::path(
    get, path = "/recommendations/similar/{movie_id}", tag = "movies",
    params(
        ("movie_id" = String, Path, description = "The movie's id", example = "260"),
        ("n" = Option<u32>, Query, description = "How many movies", minimum = 1, maximum = 50, example = 10),
        ModelQuery, CallQuery,
    ),
    responses((status = 200, body = SimilarAnswer), Refusals, NotFound),
)]
async fn similar(
    api: Api,
    movie_id: PathId,
    RawQuery(query): RawQuery,
) -> Result<Json<SimilarAnswer>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.similar(path_id(movie_id)?, parameters).await?;
    Ok(Json(SimilarAnswer::new(&found, api.queries.timestamp())))
}

/// As `/recommendations/similar/{movie_id}`, for any movie: an id that is empty, `.` or `..` has no path of its own.
#[utoipa::path(
    get, path = "/recommendations/similar", tag = "movies",
    params(
        ("movie_id" = String, Query, description = "The movie's id", example = "260"),
        ("n" = Option<u32>, Query, description = "How many movies", minimum = 1, maximum = 50, example = 10),
        ModelQuery, CallQuery,
    ),
    responses((status = 200, body = SimilarAnswer), Refusals, NotFound),
)]
async fn similar_named(api: Api, RawQuery(query): RawQuery) -> Result<Json<SimilarAnswer>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let movie = parameters.id("movie_id")?;
    let found = api.similar(movie, parameters).await?;
    Ok(Json(SimilarAnswer::new(&found, api.queries.timestamp())))
}

/// The rating that a user would give a movie.
#[utoipa::path(
    post, path = "/recommendations/predict", tag = "movies",
    params(
        ModelQuery,
        ("timeout_ms" = Option<u32>, Query, description = "How long the query may take in all",
            minimum = 1, maximum = 60000, example = 500),
    ),
    request_body = PredictBody,
    responses((status = 200, body = PredictAnswer), Refusals, NotFound),
)]
async fn predict(api: Api, RawQuery(query): RawQuery, body: Body) -> Result<Json<PredictAnswer>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.predict(body, parameters).await?;
    Ok(Json(PredictAnswer::new(&found, api.queries.timestamp())))
}
