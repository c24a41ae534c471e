//! The routes about the service itself, whichever face clients use.

use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Json, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    answers::{HealthAnswer, IndexAnswer, ReadinessAnswer},
    api::{Api, Serves},
    dashboard,
    error::HttpError,
    parameters::Parameters,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(short_health))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
}

pub(super) fn metrics_route() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(render_metrics))
}

/// What this service is and which routes it has.
pub(super) fn index(api: &Api, query: Option<&str>) -> Result<Json<IndexAnswer>, HttpError> {
    Parameters::none(query)?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(IndexAnswer { service: "shoal", version, routes: api.index.to_vec() }))
}

/// Whether and how well queries can be answered.
pub(super) fn health(api: &Api, query: Option<&str>) -> Result<Json<HealthAnswer>, HttpError> {
    Parameters::none(query)?;
    Ok(Json(api.queries.health().into()))
}

/// For browsers the dashboard; for others what this service is and which routes it has.
#[utoipa::path(
    get, path = "/", tag = "service",
    responses((status = 200, body = IndexAnswer), (status = 307, description = "To the dashboard, where `Accept` has `text/html`")),
)]
async fn root(api: Api, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, HttpError> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_browser =
        accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html"));
    let answer = if is_browser && api.serves == Serves::Everybody {
        dashboard::to("dashboard/")
    } else {
        index(&api, query.as_deref())?.into_response()
    };
    Ok(([(header::VARY, HeaderValue::from_static("accept"))], answer).into_response())
}

/// As `/v1/health`.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = HealthAnswer)))]
async fn short_health(api: Api, RawQuery(query): RawQuery) -> Result<Json<HealthAnswer>, HttpError> {
    health(&api, query.as_deref())
}

/// As `/v1/health`: a check of liveness.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = HealthAnswer)))]
async fn healthz(api: Api, RawQuery(query): RawQuery) -> Result<Json<HealthAnswer>, HttpError> {
    health(&api, query.as_deref())
}

/// As `/v1/health`, with 503 until a live version can be asked for all of its shards, and while none of it can: a check of readiness.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, body = ReadinessAnswer),
        (status = 503, body = ReadinessAnswer, description = "No model is live, workers still load its shards, or none of them can be asked for"),
    ),
)]
async fn readyz(api: Api, RawQuery(query): RawQuery) -> Result<Response, HttpError> {
    Parameters::none(query.as_deref())?;
    let waits_for = api.queries.waits_for();
    let status = if waits_for.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let health = api.queries.health().into();
    Ok((status, Json(ReadinessAnswer { ready: waits_for.is_none(), waits_for, health })).into_response())
}

/// The process's metrics as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "text/plain")),
)]
async fn render_metrics(api: Api) -> impl IntoResponse {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, text)], (api.metrics)())
}
