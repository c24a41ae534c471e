//! What holds for every request and every answer, whatever route they are of: a request that cannot be answered is refused
//! before its body is awaited, every refusal says why in `{"detail": "…"}`, and browsers are told what a page may do.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{error::HttpError, limits::BODY_BYTES_MAX};

/// What the page of the routes may load and where it may stand: its own parts, and in nobody's frame. Swagger UI sets
/// styles where it shows something, and has pictures in its own text.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Refuses what cannot be answered, and sees to it that answers are as they should be.
pub(super) async fn mind(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = match refusal(request.headers()) {
        Some(refused) => refused.into_response(),
        None => next.run(request).await,
    };
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if is_refusal && !is(response.headers(), "application/json") {
        response = explained(status, &path, response.headers());
    }
    let is_page = is(response.headers(), "text/html");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if is_page {
        // The dashboard has a stricter one.
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(PAGE_POLICY);
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    response
}

/// Why a request is refused by what its headers say of its body.
fn refusal(headers: &HeaderMap) -> Option<HttpError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.is_some_and(|length| length.parse::<u64>().is_ok_and(|length| length > BODY_BYTES_MAX as u64)) {
        return Some(HttpError::too_large());
    }
    let encoding = headers.get(header::CONTENT_ENCODING)?;
    (encoding != "identity").then(HttpError::encoded)
}

fn is(headers: &HeaderMap, kind: &str) -> bool {
    let found = headers.get(header::CONTENT_TYPE).and_then(|found| found.to_str().ok());
    found.is_some_and(|found| found.starts_with(kind))
}

/// The refusal of a part that has no words for it.
fn explained(status: StatusCode, path: &str, headers: &HeaderMap) -> Response {
    let detail = match status {
        StatusCode::NOT_FOUND => format!("there is no '{path}'; GET / lists the routes"),
        other => other.canonical_reason().unwrap_or("the request was refused").to_lowercase(),
    };
    let mut response = HttpError::of(status, detail).into_response();
    if let Some(allowed) = headers.get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    response
}
