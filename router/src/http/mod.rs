//! The HTTP face: routes, their parameters and their answers, and how errors look.

mod answers;
mod bodies;
mod error;
mod openapi;
mod parameters;
mod server;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        DefaultBodyLimit, Path, RawQuery, Request, State,
        rejection::{PathRejection, StringRejection},
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Json, Redirect, Response},
};
use tokio::time::Instant;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::{AllowOrigin, Any, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use self::{
    answers::{
        BatchAnswer, HealthAnswer, IndexAnswer, PopularAnswer, PredictAnswer, RecommendAnswer, SimilarAnswer,
    },
    bodies::{BatchBody, ItemsBody, PredictBody},
    error::HttpError,
    openapi::{
        CallQuery, DOCS_PATH, Description, ListQuery, ModelQuery, NotFound, OPENAPI_PATH, Refusals,
        SingleQuery, UserQuery,
    },
    parameters::Parameters,
};
use crate::query::{
    BATCH_TIMEOUT, GivenId, Popular, Predict, Queries, RECOMMEND_COUNT, Recommend, RecommendBatch,
    RecommendForItems, SIMILAR_COUNT, Similar,
};

pub use self::server::serve;

/// A thousand rated movies or users with long ids.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Renders the process's metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

#[derive(Clone)]
struct Api {
    queries: Queries,
    metrics: RenderMetrics,
    index: Arc<[String]>,
}

/// The routes. `cors_origins` are the origins whose pages may call from a browser, `*` for any.
pub fn routes(queries: Queries, metrics: RenderMetrics, cors_origins: &[String]) -> Router {
    let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(root))
        .routes(routes!(index))
        .routes(routes!(health))
        .routes(routes!(short_health))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(recommend))
        .routes(routes!(recommend_named, recommend_for_items))
        .routes(routes!(recommend_batch))
        .routes(routes!(popular))
        .routes(routes!(similar))
        .routes(routes!(similar_named))
        .routes(routes!(predict))
        .routes(routes!(render_metrics))
        .split_for_parts();
    let index = index_of(&description);
    let router = router
        .route("/recommendations", axum::routing::get(self::index))
        .with_state(Api { queries, metrics, index })
        .merge(SwaggerUi::new(DOCS_PATH).url(OPENAPI_PATH, description))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(|_| HttpError::defect().into_response()))
        .layer(middleware::from_fn(measure));
    let router = match cors(cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// `GET /path` of every route that is described.
fn index_of(description: &utoipa::openapi::OpenApi) -> Arc<[String]> {
    let paths = description.paths.paths.iter();
    let routes = |(path, item): (&String, &utoipa::openapi::PathItem)| {
        let methods = [("GET", item.get.is_some()), ("POST", item.post.is_some())];
        let taken = methods.into_iter().filter(|(_, taken)| *taken);
        taken.map(|(method, _)| format!("{method} {path}")).collect::<Vec<String>>()
    };
    paths.flat_map(routes).chain([format!("GET {DOCS_PATH}"), format!("GET {OPENAPI_PATH}")]).collect()
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let any = origins.iter().any(|origin| origin == "*");
    // Origins were checked when the settings were read.
    let listed = origins.iter().filter_map(|origin| origin.parse().ok()).collect::<Vec<HeaderValue>>();
    let allowed = if any { AllowOrigin::any() } else { AllowOrigin::list(listed) };
    let methods = [Method::GET, Method::POST];
    Some(CorsLayer::new().allow_origin(allowed).allow_methods(methods).allow_headers(Any))
}

/// For browsers the page to try the routes on; for others what this service is and which routes it has.
#[utoipa::path(
    get, path = "/", tag = "service",
    responses((status = 200, body = IndexAnswer), (status = 307, description = "To the page, where `Accept` has `text/html`")),
)]
async fn root(state: State<Api>, query: RawQuery, headers: HeaderMap) -> Result<Response, HttpError> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_browser =
        accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html"));
    let answer = if is_browser {
        Redirect::temporary(DOCS_PATH).into_response()
    } else {
        index(state, query).await?.into_response()
    };
    Ok(([(header::VARY, HeaderValue::from_static("accept"))], answer).into_response())
}

/// What this service is and which routes it has.
#[utoipa::path(
    get, path = "/recommendations/", tag = "service",
    responses((status = 200, body = IndexAnswer)),
)]
async fn index(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<IndexAnswer>, HttpError> {
    Parameters::none(query.as_deref())?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(IndexAnswer { service: "shoal", version, routes: api.index.to_vec() }))
}

/// Whether and how well queries can be answered. The status is 200 for as long as the process answers, whatever it says:
/// see `/readyz` for a check of readiness.
#[utoipa::path(
    get, path = "/recommendations/health", tag = "service",
    responses((status = 200, body = HealthAnswer)),
)]
async fn health(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<HealthAnswer>, HttpError> {
    Parameters::none(query.as_deref())?;
    Ok(Json(api.queries.health().into()))
}

/// As `/recommendations/health`.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = HealthAnswer)))]
async fn short_health(state: State<Api>, query: RawQuery) -> Result<Json<HealthAnswer>, HttpError> {
    health(state, query).await
}

/// As `/recommendations/health`: a check of liveness.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = HealthAnswer)))]
async fn healthz(state: State<Api>, query: RawQuery) -> Result<Json<HealthAnswer>, HttpError> {
    health(state, query).await
}

/// The same, with 503 while no query can be answered: a check of readiness.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, body = HealthAnswer),
        (status = 503, body = HealthAnswer, description = "No model is live, or none of its shards can be asked for"),
    ),
)]
async fn readyz(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, HttpError> {
    Parameters::none(query.as_deref())?;
    let health = api.queries.health();
    let status = if health.model_loaded { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(HealthAnswer::from(health))).into_response())
}

/// The best movies for a user; for one whom the model does not know, what is popular.
#[utoipa::path(
    get, path = "/recommendations/recommend/{user_id}", tag = "recommendations",
    params(
        ("user_id" = String, Path, description = "The user's id", example = "1"),
        ListQuery, ModelQuery, SingleQuery, UserQuery, CallQuery,
    ),
    responses((status = 200, body = RecommendAnswer), Refusals, NotFound),
)]
async fn recommend(
    State(api): State<Api>,
    user_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    let parameters = Parameters::read(query.as_deref())?;
    api.recommend(path_id(user_id)?, parameters).await
}

/// The same for any user: an id that is empty, `.` or `..` has no path of its own.
#[utoipa::path(
    get, path = "/recommendations/recommend", tag = "recommendations",
    params(
        ("user_id" = String, Query, description = "The user's id", example = "1"),
        ListQuery, ModelQuery, SingleQuery, UserQuery, CallQuery,
    ),
    responses((status = 200, body = RecommendAnswer), Refusals, NotFound),
)]
async fn recommend_named(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let user = parameters.id("user_id")?;
    api.recommend(user, parameters).await
}

impl Api {
    async fn recommend(&self, user: GivenId, mut parameters: Parameters) -> Result<Response, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let request = Recommend {
            user,
            options: parameters.single_options()?,
            use_cache: parameters.flag("use_cache", true)?,
            cursor: parameters.text("cursor")?,
        };
        parameters.finish()?;
        let found = queries.recommend(&request).await?;
        Ok(sourced(found.source, RecommendAnswer::new(&found, self.queries.timestamp())))
    }

    async fn similar(
        &self,
        movie: GivenId,
        mut parameters: Parameters,
    ) -> Result<Json<SimilarAnswer>, HttpError> {
        let queries = self.for_call(&mut parameters)?;
        let request = Similar {
            movie,
            n: parameters.count("n", SIMILAR_COUNT)?,
            complete: parameters.flag("complete", false)?,
            model: parameters.model()?,
        };
        parameters.finish()?;
        let found = queries.similar(&request).await?;
        Ok(Json(SimilarAnswer::new(&found, self.queries.timestamp())))
    }
}

/// The best movies for somebody who is no user, from what was rated or looked at.
#[utoipa::path(
    post, path = "/recommendations/recommend", tag = "recommendations",
    params(ListQuery, ModelQuery, SingleQuery, CallQuery),
    request_body = ItemsBody,
    responses((status = 200, body = RecommendAnswer), Refusals),
)]
async fn recommend_for_items(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    body: Result<String, StringRejection>,
) -> Result<Response, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let queries = api.for_call(&mut parameters)?;
    let options = parameters.single_options()?;
    parameters.finish()?;
    let request = RecommendForItems { items: bodies::items(&body.map_err(HttpError::body)?)?, options };
    let found = queries.recommend_for_items(&request).await?;
    Ok(sourced(found.source, RecommendAnswer::new(&found, api.queries.timestamp())))
}

/// The best movies for up to 1,000 users, whose lists share passes over the factors. By default a batch may take
/// ten seconds.
#[utoipa::path(
    post, path = "/recommendations/batch", tag = "recommendations",
    params(ListQuery, ModelQuery, CallQuery),
    request_body = BatchBody,
    responses((status = 200, body = BatchAnswer), Refusals),
)]
async fn recommend_batch(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    body: Result<String, StringRejection>,
) -> Result<Json<BatchAnswer>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let timeout = parameters.timeout()?.unwrap_or(api.queries.timeout().max(BATCH_TIMEOUT));
    let options = parameters.options()?;
    parameters.finish()?;
    let request = RecommendBatch { users: bodies::users(&body.map_err(HttpError::body)?)?, options };
    let found = api.queries.with_timeout(timeout).recommend_batch(&request).await?;
    Ok(Json(BatchAnswer::new(&found, api.queries.timestamp())))
}

/// What is liked, on the rise, or new. Time counts back from the data set's newest rating.
#[utoipa::path(
    get, path = "/recommendations/popular", tag = "recommendations",
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
async fn popular(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<PopularAnswer>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let queries = api.for_call(&mut parameters)?;
    let mut request = Popular {
        n: parameters.count("n", RECOMMEND_COUNT)?,
        order: parameters.order()?,
        window_days: parameters.window_days()?,
        complete: parameters.flag("complete", false)?,
        ..Popular::default()
    };
    request.filter.genres.extend(parameters.text("genre")?);
    parameters.finish()?;
    let found = queries.popular(&request).await?;
    Ok(Json(PopularAnswer::new(&found, api.queries.timestamp())))
}

/// Movies like a movie.
#[utoipa::path(
    get, path = "/recommendations/similar/{movie_id}", tag = "recommendations",
    params(
        ("movie_id" = String, Path, description = "The movie's id", example = "260"),
        ("n" = Option<u32>, Query, description = "How many movies", minimum = 1, maximum = 50, example = 10),
        ModelQuery, CallQuery,
    ),
    responses((status = 200, body = SimilarAnswer), Refusals, NotFound),
)]
async fn similar(
    State(api): State<Api>,
    movie_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<SimilarAnswer>, HttpError> {
    let parameters = Parameters::read(query.as_deref())?;
    api.similar(path_id(movie_id)?, parameters).await
}

/// The same for any movie: an id that is empty, `.` or `..` has no path of its own.
#[utoipa::path(
    get, path = "/recommendations/similar", tag = "recommendations",
    params(
        ("movie_id" = String, Query, description = "The movie's id", example = "260"),
        ("n" = Option<u32>, Query, description = "How many movies", minimum = 1, maximum = 50, example = 10),
        ModelQuery, CallQuery,
    ),
    responses((status = 200, body = SimilarAnswer), Refusals, NotFound),
)]
async fn similar_named(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<SimilarAnswer>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let movie = parameters.id("movie_id")?;
    api.similar(movie, parameters).await
}

/// The rating that a user would give a movie.
#[utoipa::path(
    post, path = "/recommendations/predict", tag = "recommendations",
    params(
        ModelQuery,
        ("timeout_ms" = Option<u32>, Query, description = "How long the query may take in all",
            minimum = 1, maximum = 60000, example = 500),
    ),
    request_body = PredictBody,
    responses((status = 200, body = PredictAnswer), Refusals, NotFound),
)]
async fn predict(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    body: Result<String, StringRejection>,
) -> Result<Json<PredictAnswer>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let queries = api.for_call(&mut parameters)?;
    let model = parameters.model()?;
    parameters.finish()?;
    let (user, movie) = bodies::predict(&body.map_err(HttpError::body)?)?;
    let found = queries.predict(&Predict { user, movie, model }).await?;
    Ok(Json(PredictAnswer::new(&found, api.queries.timestamp())))
}

/// The process's metrics as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "text/plain")),
)]
async fn render_metrics(State(api): State<Api>) -> impl IntoResponse {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, text)], (api.metrics)())
}

impl Api {
    /// Queries with the time that the request asks for.
    fn for_call(&self, parameters: &mut Parameters) -> Result<Queries, HttpError> {
        Ok(match parameters.timeout()? {
            Some(timeout) => self.queries.with_timeout(timeout),
            None => self.queries.clone(),
        })
    }
}

fn path_id(id: Result<Path<String>, PathRejection>) -> Result<GivenId, HttpError> {
    id.map(|Path(id)| GivenId::Text(id)).map_err(HttpError::path)
}

/// An answer that remembers where it came from, for the metrics.
fn sourced(source: &'static str, answer: RecommendAnswer) -> Response {
    let mut response = Json(answer).into_response();
    response.extensions_mut().insert(Source(source));
    response
}

async fn no_route(uri: Uri) -> HttpError {
    HttpError::not_found(format!("there is no '{}'; GET /recommendations/ lists the routes", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> HttpError {
    HttpError::wrong_method(format!("'{}' does not take {method}", uri.path()))
}

/// Where an answer came from, for the metrics.
#[derive(Debug, Clone, Copy)]
struct Source(&'static str);

/// Counts and times every request by its route.
async fn measure(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = route_name(request.method(), request.uri().path());
    let request_id = request.headers().get("x-request-id").cloned();
    let in_flight = metrics::gauge!("shoal_router_inflight_requests");
    in_flight.increment(1.0);
    let response = next.run(request).await;
    in_flight.decrement(1.0);
    let source = response.extensions().get::<Source>().map_or("", |source| source.0);
    let status = response.status().as_u16();
    let elapsed: Duration = started.elapsed();
    tracing::debug!(route, source, status, ?request_id, elapsed_us = elapsed.as_micros() as u64, "answered");
    metrics::histogram!(
        "shoal_router_request_seconds", "route" => route, "source" => source, "status" => status.to_string()
    )
    .record(elapsed.as_secs_f64());
    response
}

/// A route's name in metrics: never a path, which has ids in it.
fn route_name(method: &Method, path: &str) -> &'static str {
    match path.trim_start_matches("/recommendations").trim_start_matches('/').split('/').next() {
        Some("recommend") if method == Method::POST => "recommend_for_items",
        Some("recommend") => "recommend",
        Some("batch") => "batch",
        Some("popular") => "popular",
        Some("similar") => "similar",
        Some("predict") => "predict",
        Some("health" | "healthz" | "readyz") => "health",
        Some("metrics") => "metrics",
        Some("docs" | "openapi.json") => "docs",
        Some("") => "index",
        _ => "other",
    }
}
