//! The dashboard: the files that `router/dashboard` was built into, compiled in.
//!
//! The page asks only for its own parts and for the routes of this router, and names both beside itself: it works below any
//! path of a proxy. What is built is committed, and CI builds it anew to compare.

use axum::{
    Router,
    extract::Path,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::error::HttpError;

/// Where the page is, without the slash that its parts stand behind.
pub(super) const DASHBOARD_PATH: &str = "/dashboard";
/// What every part's path begins with.
pub(super) const PARTS_PATH: &str = "/dashboard/";

const PAGE: &str = "index.html";

/// Every file that was built, by its name.
static FILES: &[(&str, &[u8])] = include!("../../dashboard/dist/files.in");

/// No script and no style runs from the page's text, and the page stands in nobody's frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

pub(super) fn routes() -> Router {
    Router::new()
        .route(DASHBOARD_PATH, get(beside))
        .route(PARTS_PATH, get(async || file(PAGE)))
        .route("/dashboard/{name}", get(async |Path(name): Path<String>| file(&name)))
}

/// To the address with the slash. It is relative: below a path of a proxy the router does not know its own.
pub(super) async fn beside() -> Response {
    to("dashboard/")
}

/// Sends a browser to an address beside the one that it asked for.
pub(super) fn to(beside: &'static str) -> Response {
    let location = [(header::LOCATION, HeaderValue::from_static(beside))];
    (axum::http::StatusCode::TEMPORARY_REDIRECT, location).into_response()
}

fn file(name: &str) -> Response {
    let Some((_, bytes)) = FILES.iter().find(|(known, _)| *known == name) else {
        return HttpError::not_found(format!("the dashboard has no '{name}'; GET {PARTS_PATH} is its page"))
            .into_response();
    };
    // The names of scripts and styles change with what is in them; the page says which are the newest.
    let lasting = [".js", ".css"].iter().any(|ending| name.ends_with(ending));
    let caching = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind(name))),
        (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, *bytes).into_response()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
