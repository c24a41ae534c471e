//! Requests in metrics: each is counted by its route, its status and where its answer came from, and timed by its route.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Json, Response},
};
use serde::Serialize;
use shoal_common::{log_limit::LogLimit, telemetry::list::TIMED_ROUTES, user_query::AnswerSource};
use tokio::time::Instant;

use super::{admin::ADMIN_PATH, traffic::Traffic};

/// Requests that failed are told to the log, one in a second: when one fails many do.
static FAILURES: LazyLock<LogLimit> = LazyLock::new(|| LogLimit::new(Duration::from_secs(1)));

/// An answer that remembers where it came from, for the metrics.
pub(super) fn sourced(source: AnswerSource, answer: impl Serialize) -> Response {
    let mut response = Json(answer).into_response();
    response.extensions_mut().insert(Source(source));
    response
}

/// Where an answer came from, for the metrics.
#[derive(Debug, Clone, Copy)]
struct Source(AnswerSource);

/// Counts and times every request by its route.
pub(super) async fn measure(State(traffic): State<Arc<Traffic>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = route_name(request.method(), request.uri().path());
    let request_id = request.headers().get("x-request-id").cloned();
    let request_id = request_id.as_ref().and_then(|id| id.to_str().ok());
    let in_flight = metrics::gauge!("shoal_router_inflight_requests");
    in_flight.increment(1.0);
    let response = next.run(request).await;
    in_flight.decrement(1.0);
    let source = response.extensions().get::<Source>().map(|source| source.0);
    let status = response.status().as_u16();
    let elapsed: Duration = started.elapsed();
    traffic.record(route, source, status, elapsed);
    let source = source.map_or("", AnswerSource::name);
    tracing::debug!(route, source, status, request_id, elapsed_us = elapsed.as_micros() as u64, "answered");
    if status >= 500
        && let Some(held_back) = FAILURES.pass()
    {
        tracing::warn!(route, status, request_id, held_back, "a request failed");
    }
    metrics::counter!(
        "shoal_router_requests_total", "route" => route, "source" => source, "status" => status.to_string()
    )
    .increment(1);
    // Nobody waits for the other routes.
    let timed = if TIMED_ROUTES.contains(&route) { route } else { "other" };
    metrics::histogram!("shoal_router_request_seconds", "route" => timed).record(elapsed.as_secs_f64());
    response
}

/// A route's name in metrics: never a path, which has ids in it. Both faces of a use case have one name.
pub(super) fn route_name(method: &Method, path: &str) -> &'static str {
    let posts = method == Method::POST;
    if path.starts_with(ADMIN_PATH) {
        return "admin";
    }
    if let Some(rest) = path.strip_prefix("/v1/") {
        return match *rest.split('/').collect::<Vec<&str>>() {
            ["recommendations"] if posts => "recommend_for_items",
            ["recommendations"] | ["users", _, "recommendations"] => "recommend",
            ["recommendations", "batch"] => "batch",
            ["users", _, "ratings"] => "ratings",
            ["popular"] => "popular",
            ["similar"] | ["items", _, "similar"] => "similar",
            ["predictions"] => "predict",
            ["items"] => "search",
            ["item"] | ["items", _] => "item",
            ["health"] => "health",
            _ => "other",
        };
    }
    match path.trim_start_matches("/recommendations").trim_start_matches('/').split('/').next() {
        Some("recommend") if posts => "recommend_for_items",
        Some("recommend") => "recommend",
        Some("batch") => "batch",
        Some("popular") => "popular",
        Some("similar") => "similar",
        Some("predict") => "predict",
        Some("health" | "healthz" | "readyz") => "health",
        Some("metrics") => "metrics",
        Some("docs" | "dashboard" | "openapi.json") => "docs",
        Some("") => "index",
        _ => "other",
    }
}
