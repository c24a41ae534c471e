//! The product's own face: `/v1`, of items and categories.

mod answers;
mod description;

use axum::{
    extract::RawQuery,
    response::{Json, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    answers::{
        BatchOfRecommendations, FoundItems, ItemAnswer, PopularItems, Prediction, RatingsOfUser,
        Recommendations, SimilarItems,
    },
    description::{FilterQuery, PairBody, RankingQuery, SessionBody},
};
use super::{
    answers::HealthAnswer,
    api::Api,
    bodies::BatchBody,
    error::HttpError,
    measure::sourced,
    openapi::{CallQuery, ModelQuery, NotFound, Refusals, SingleQuery, UserQuery},
    parameters::Parameters,
    requests::{Body, PathId, path_id},
    service,
};
use crate::{answer::Recommended, words::Words};

/// What this face calls things.
static WORDS: Words = Words::OWN;

/// In the order of use.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(user_recommendations))
        .routes(routes!(named_user_recommendations, session_recommendations))
        .routes(routes!(user_ratings))
        .routes(routes!(batch_recommendations))
        .routes(routes!(popular_items))
        .routes(routes!(items))
        .routes(routes!(item))
        .routes(routes!(named_item))
        .routes(routes!(similar_items))
        .routes(routes!(named_similar_items))
        .routes(routes!(prediction))
        .routes(routes!(service_health))
}

/// The best items for a user; for one whom the model does not know, what is popular.
#[utoipa::path(
    get, path = "/v1/users/{user_id}/recommendations", tag = "recommendations",
    params(
        ("user_id" = String, Path, description = "The user's id", example = "1"),
        RankingQuery, FilterQuery, ModelQuery, SingleQuery, UserQuery, CallQuery,
    ),
    responses((status = 200, body = Recommendations), Refusals, NotFound),
)]
async fn user_recommendations(
    api: Api,
    user_id: PathId,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.recommend(path_id(user_id)?, parameters).await?;
    Ok(api.recommendations(&found))
}

/// As `/v1/users/{user_id}/recommendations`, for any user: an id that is empty, `.` or `..` has no path of its own.
#[utoipa::path(
    get, path = "/v1/recommendations", tag = "recommendations",
    params(
        ("user_id" = String, Query, description = "The user's id", example = "1"),
        RankingQuery, FilterQuery, ModelQuery, SingleQuery, UserQuery, CallQuery,
    ),
    responses((status = 200, body = Recommendations), Refusals, NotFound),
)]
async fn named_user_recommendations(api: Api, RawQuery(query): RawQuery) -> Result<Response, HttpError> {
    let mut parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let user = parameters.id("user_id")?;
    let found = api.recommend(user, parameters).await?;
    Ok(api.recommendations(&found))
}

impl Api {
    fn recommendations(&self, found: &Recommended) -> Response {
        sourced(found.source, Recommendations::new(found, self.queries.timestamp()))
    }
}

/// What a user has rated: all that the version knows, the highest ratings first.
///
/// Ratings that were held out are among them; times are not kept by workers, so there is no order of time.
#[utoipa::path(
    get, path = "/v1/users/{user_id}/ratings", tag = "ratings",
    params(
        ("user_id" = String, Path, description = "The user's id", example = "1"),
        ("n" = Option<u32>, Query, description = "How many ratings", minimum = 1, maximum = 1000, example = 100),
        ("timeout_ms" = Option<u32>, Query, description = "How long the query may take in all",
            minimum = 1, maximum = 60000, example = 500),
    ),
    responses((status = 200, body = RatingsOfUser), Refusals, NotFound),
)]
async fn user_ratings(
    api: Api,
    user_id: PathId,
    RawQuery(query): RawQuery,
) -> Result<Json<RatingsOfUser>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.ratings(path_id(user_id)?, parameters).await?;
    Ok(Json(RatingsOfUser::new(&found, api.queries.timestamp())))
}

/// The best items for a session: for somebody who is no user, from what was rated or looked at.
#[utoipa::path(
    post, path = "/v1/recommendations", tag = "recommendations",
    params(RankingQuery, FilterQuery, ModelQuery, SingleQuery, CallQuery),
    request_body = SessionBody,
    responses((status = 200, body = Recommendations), Refusals),
)]
async fn session_recommendations(
    api: Api,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.recommend_for_items(body, parameters).await?;
    Ok(api.recommendations(&found))
}

/// The best items for up to 1,000 users, whose lists share passes over the factors. By default a batch may take
/// ten seconds.
#[utoipa::path(
    post, path = "/v1/recommendations/batch", tag = "recommendations",
    params(RankingQuery, FilterQuery, ModelQuery, CallQuery),
    request_body = BatchBody,
    responses((status = 200, body = BatchOfRecommendations), Refusals),
)]
async fn batch_recommendations(
    api: Api,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<BatchOfRecommendations>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.recommend_batch(body, parameters).await?;
    Ok(Json(BatchOfRecommendations::new(&found, api.queries.timestamp())))
}

/// What is liked, on the rise, or new. Time counts back from the data set's newest rating.
#[utoipa::path(
    get, path = "/v1/popular", tag = "recommendations",
    params(
        ("n" = Option<u32>, Query, description = "How many items",
            minimum = 1, maximum = 100, example = 10),
        ("order" = Option<String>, Query, description = "`popular` (damped mean rating, the default), `trending` \
            (ratings count half for each half-life of their age) or `latest` (year of release)",
            pattern = "^(popular|trending|latest)$", example = "trending"),
        ("window" = Option<String>, Query, description = "Only ratings of so many days; of a trend the half-life, \
            30d by default", pattern = "^[0-9]+d$", example = "365d"),
        FilterQuery, CallQuery,
    ),
    responses((status = 200, body = PopularItems), Refusals),
)]
async fn popular_items(api: Api, RawQuery(query): RawQuery) -> Result<Json<PopularItems>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.popular(parameters, Parameters::filter).await?;
    Ok(Json(PopularItems::new(&found, api.queries.timestamp())))
}

/// Items by the words of their titles.
///
/// Each word has to be a word of the title, or to begin one; letter case, accents and
/// apostrophes do not matter. The closer titles come first, then the items with more ratings, then the smaller ids.
#[utoipa::path(
    get, path = "/v1/items", tag = "items",
    params(
        ("query" = String, Query, description = "Up to 20 words in 200 characters",
            min_length = 1, max_length = 200, example = "toy story"),
        ("n" = Option<u32>, Query, description = "How many items", minimum = 1, maximum = 50, example = 10),
        CallQuery,
    ),
    responses((status = 200, body = FoundItems), Refusals),
)]
async fn items(api: Api, RawQuery(query): RawQuery) -> Result<Json<FoundItems>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.search(parameters).await?;
    Ok(Json(FoundItems::new(&found, api.queries.timestamp())))
}

/// What is known of an item.
#[utoipa::path(
    get, path = "/v1/items/{item_id}", tag = "items",
    params(
        ("item_id" = String, Path, description = "The item's id", example = "1"),
        ("timeout_ms" = Option<u32>, Query, description = "How long the query may take in all",
            minimum = 1, maximum = 60000, example = 500),
    ),
    responses((status = 200, body = ItemAnswer), Refusals, NotFound),
)]
async fn item(api: Api, item_id: PathId, RawQuery(query): RawQuery) -> Result<Json<ItemAnswer>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.item(path_id(item_id)?, parameters).await?;
    Ok(Json(ItemAnswer::new(&found, api.queries.timestamp())))
}

/// As `/v1/items/{item_id}`, for any item: an id that is empty, `.` or `..` has no path of its own.
#[utoipa::path(
    get, path = "/v1/item", tag = "items",
    params(
        ("item_id" = String, Query, description = "The item's id", example = "1"),
        ("timeout_ms" = Option<u32>, Query, description = "How long the query may take in all",
            minimum = 1, maximum = 60000, example = 500),
    ),
    responses((status = 200, body = ItemAnswer), Refusals, NotFound),
)]
async fn named_item(api: Api, RawQuery(query): RawQuery) -> Result<Json<ItemAnswer>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let item = parameters.id("item_id")?;
    let found = api.item(item, parameters).await?;
    Ok(Json(ItemAnswer::new(&found, api.queries.timestamp())))
}

/// Items like an item.
#[utoipa::path(
    get, path = "/v1/items/{item_id}/similar", tag = "items",
    params(
        ("item_id" = String, Path, description = "The item's id", example = "1"),
        ("n" = Option<u32>, Query, description = "How many items", minimum = 1, maximum = 50, example = 10),
        ModelQuery, CallQuery,
    ),
    responses((status = 200, body = SimilarItems), Refusals, NotFound),
)]
async fn similar_items(
    api: Api,
    item_id: PathId,
    RawQuery(query): RawQuery,
) -> Result<Json<SimilarItems>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.similar(path_id(item_id)?, parameters).await?;
    Ok(Json(SimilarItems::new(&found, api.queries.timestamp())))
}

/// As `/v1/items/{item_id}/similar`, for any item: an id that is empty, `.` or `..` has no path of its own.
#[utoipa::path(
    get, path = "/v1/similar", tag = "items",
    params(
        ("item_id" = String, Query, description = "The item's id", example = "1"),
        ("n" = Option<u32>, Query, description = "How many items", minimum = 1, maximum = 50, example = 10),
        ModelQuery, CallQuery,
    ),
    responses((status = 200, body = SimilarItems), Refusals, NotFound),
)]
async fn named_similar_items(api: Api, RawQuery(query): RawQuery) -> Result<Json<SimilarItems>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let item = parameters.id("item_id")?;
    let found = api.similar(item, parameters).await?;
    Ok(Json(SimilarItems::new(&found, api.queries.timestamp())))
}

/// The rating that a user would give an item.
#[utoipa::path(
    post, path = "/v1/predictions", tag = "ratings",
    params(
        ModelQuery,
        ("timeout_ms" = Option<u32>, Query, description = "How long the query may take in all",
            minimum = 1, maximum = 60000, example = 500),
    ),
    request_body = PairBody,
    responses((status = 200, body = Prediction), Refusals, NotFound),
)]
async fn prediction(api: Api, RawQuery(query): RawQuery, body: Body) -> Result<Json<Prediction>, HttpError> {
    let parameters = Parameters::read(query.as_deref(), &WORDS)?;
    let found = api.predict(body, parameters).await?;
    Ok(Json(Prediction::new(&found, api.queries.timestamp())))
}

/// Whether and how well queries can be answered. The status is 200 for as long as the process answers, whatever it says:
/// see `/readyz` for a check of readiness.
#[utoipa::path(get, path = "/v1/health", tag = "service", responses((status = 200, body = HealthAnswer)))]
async fn service_health(api: Api, RawQuery(query): RawQuery) -> Result<Json<HealthAnswer>, HttpError> {
    service::health(&api, query.as_deref())
}
