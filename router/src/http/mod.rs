//! The HTTP face: routes, their parameters and their answers, and how errors look.

mod answers;
mod error;
mod parameters;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        DefaultBodyLimit, Path, RawQuery, Request, State,
        rejection::{PathRejection, StringRejection},
    },
    http::{HeaderValue, Method, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Json, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::time::Instant;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use self::{error::HttpError, parameters::Parameters};
use crate::query::{GivenId, Predict, Queries, RECOMMEND_COUNT, Recommend, SIMILAR_COUNT, Similar};

/// A predict body is two ids.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Renders the process's metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

#[derive(Clone)]
struct Api {
    queries: Queries,
    metrics: RenderMetrics,
}

/// The routes.
pub fn routes(queries: Queries, metrics: RenderMetrics) -> Router {
    Router::new()
        .route("/recommendations/", get(index))
        .route("/recommendations", get(index))
        .route("/recommendations/health", get(health))
        .route("/recommendations/recommend/{user_id}", get(recommend))
        .route("/recommendations/similar/{movie_id}", get(similar))
        .route("/recommendations/predict", post(predict))
        .route("/metrics", get(render_metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(measure))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .with_state(Api { queries, metrics })
}

async fn index(RawQuery(query): RawQuery) -> Result<Json<serde_json::Value>, HttpError> {
    Parameters::read(query.as_deref())?.finish()?;
    Ok(Json(json!({
        "service": "shoal",
        "version": env!("CARGO_PKG_VERSION"),
        "routes": [
            "GET /recommendations/recommend/{user_id}?n=10&rank_by=ranking|rating&complete=false",
            "GET /recommendations/similar/{movie_id}?n=10&complete=false",
            "POST /recommendations/predict {\"user_id\": 1, \"movie_id\": 50}",
            "GET /recommendations/health",
            "GET /metrics",
        ],
    })))
}

async fn health(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<serde_json::Value>, HttpError> {
    Parameters::read(query.as_deref())?.finish()?;
    let health = api.queries.health();
    Ok(Json(json!({
        "status": health.status,
        "model_loaded": health.model_loaded,
        "model_version": Some(health.model_version).filter(|version| !version.is_empty()),
        "timestamp": health.timestamp,
        "shards": { "served": health.shards_served, "total": health.shards_total },
    })))
}

async fn recommend(
    State(api): State<Api>,
    user_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let request = Recommend {
        user: path_id(user_id)?,
        n: parameters.count("n", RECOMMEND_COUNT)?,
        rank_by: parameters.rank_by()?,
        complete: parameters.flag("complete")?,
    };
    parameters.finish()?;
    let found = api.queries.recommend(&request).await?;
    let source = found.source;
    let mut response = Json(answers::recommended(found, api.queries.timestamp())).into_response();
    response.extensions_mut().insert(Source(source));
    Ok(response)
}

async fn similar(
    State(api): State<Api>,
    movie_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<serde_json::Value>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref())?;
    let request = Similar {
        movie: path_id(movie_id)?,
        n: parameters.count("n", SIMILAR_COUNT)?,
        complete: parameters.flag("complete")?,
    };
    parameters.finish()?;
    let found = api.queries.similar(&request).await?;
    Ok(Json(answers::similar(found, api.queries.timestamp())))
}

async fn predict(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    body: Result<String, StringRejection>,
) -> Result<Json<serde_json::Value>, HttpError> {
    Parameters::read(query.as_deref())?.finish()?;
    let (user, movie) = parameters::predict_body(&body.map_err(HttpError::body)?)?;
    let found = api.queries.predict(&Predict { user, movie }).await?;
    Ok(Json(answers::predicted(found, api.queries.timestamp())))
}

fn path_id(id: Result<Path<String>, PathRejection>) -> Result<GivenId, HttpError> {
    id.map(|Path(id)| GivenId::Text(id)).map_err(HttpError::path)
}

async fn render_metrics(State(api): State<Api>) -> impl IntoResponse {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, text)], (api.metrics)())
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
    let route = route_name(request.uri().path());
    let in_flight = metrics::gauge!("shoal_router_inflight_requests");
    in_flight.increment(1.0);
    let response = next.run(request).await;
    in_flight.decrement(1.0);
    let source = response.extensions().get::<Source>().map_or("", |source| source.0);
    let status = response.status().as_u16();
    let elapsed: Duration = started.elapsed();
    tracing::debug!(route, source, status, elapsed_us = elapsed.as_micros() as u64, "answered");
    metrics::histogram!(
        "shoal_router_request_seconds", "route" => route, "source" => source, "status" => status.to_string()
    )
    .record(elapsed.as_secs_f64());
    response
}

/// A route's name in metrics: never a path, which has ids in it.
fn route_name(path: &str) -> &'static str {
    match path.trim_start_matches("/recommendations").trim_start_matches('/').split('/').next() {
        Some("recommend") => "recommend",
        Some("similar") => "similar",
        Some("predict") => "predict",
        Some("health") => "health",
        Some("metrics") => "metrics",
        Some("") => "index",
        _ => "other",
    }
}
