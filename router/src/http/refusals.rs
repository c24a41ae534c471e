//! Tells the audit log of requests that are refused because of who calls or how often: 401, 403, 421 and 429.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use shoal_common::audit::{Audit, Entry, Outcome, TokenId, Who};

use super::measure::route_name;

/// Tells of a refusal by its route's name: paths have users' ids.
pub(super) async fn tell(State(audit): State<Audit>, request: Request, next: Next) -> Response {
    let route = route_name(request.method(), request.uri().path());
    let mut who = Who::of(request.extensions());
    let response = next.run(request).await;
    let status = response.status();
    let is_told = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_MANY_REQUESTS
    );
    if is_told {
        who.token = response.extensions().get::<TokenId>().cloned().or(who.token);
        audit.refuse(Entry::new(&format!("http {route}"), who, Outcome::refused(&status.to_string())));
    }
    response
}
