//! Who may ask over HTTP where tokens are taken: the holder of a token, or of a certificate of an administrator.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{Extensions, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use shoal_common::{
    access::{AcceptedCredentials, Denied, Holder, Scope},
    audit::TokenId,
    tls::Peer,
};
use utoipa::openapi::{
    ComponentsBuilder, OpenApi,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use super::{
    admin::{ADMIN_PATH, ShownToken},
    api::Api,
    dashboard::{DASHBOARD_PATH, PARTS_PATH},
    error::HttpError,
    openapi::{DOCS_PATH, OPENAPI_PATH},
};

/// The routes that tell of no user, no item and no load: the service's index, its health, how to call it, and the page
/// that asks for a token.
const FOR_EVERYBODY: [&str; 10] = [
    "/",
    "/health",
    "/healthz",
    "/readyz",
    "/v1/health",
    "/recommendations/",
    "/recommendations/health",
    DASHBOARD_PATH,
    DOCS_PATH,
    OPENAPI_PATH,
];

/// What is said to whoever shows nothing.
const NO_TOKEN: &str = "a token is needed, sent as 'Authorization: Bearer shoal_…'; `shoal tokens create` makes one, and the \
                        command line takes it with --token-file or from its environment";

/// The name of the way to sign in, in the description.
const SCHEME: &str = "token";

/// Refuses a request without a token that is good for it.
pub(super) async fn check(
    State(credentials): State<AcceptedCredentials>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if FOR_EVERYBODY.contains(&path) || path.starts_with("/docs/") || path.starts_with(PARTS_PATH) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>();
    match credentials.check(Scope::Read, request.headers(), peer) {
        Ok(holder) => {
            let token = holder.as_ref().map(|holder| TokenId(Arc::clone(&holder.token_id)));
            if let Some(holder) = holder {
                request.extensions_mut().insert(holder);
            }
            // Coordinators judge by it what is asked of them.
            let is_for_coordinators = request.uri().path().starts_with(ADMIN_PATH);
            if let Some(token) = ShownToken::of(request.headers()).filter(|_| is_for_coordinators) {
                request.extensions_mut().insert(token);
            }
            // Whoever is let in has shown it: nothing else further on sees the secret.
            request.headers_mut().remove(header::AUTHORIZATION);
            let mut response = next.run(request).await;
            // A refusal for what the token costs is told with its id.
            response.extensions_mut().extend(token.map(told).unwrap_or_default());
            response
        }
        Err(denied) => {
            metrics::counter!("shoal_calls_refused_total").increment(1);
            refusal(&denied)
        }
    }
}

/// As RFC 6750 has it: what is lacking stands in `WWW-Authenticate`, and in words in the body.
fn refusal(denied: &Denied) -> Response {
    let (status, challenge) = match denied {
        Denied::NotHere(_) => return HttpError::not_yet(denied.to_string()).into_response(),
        Denied::Scope { .. } => {
            (StatusCode::FORBIDDEN, r#"Bearer realm="shoal", error="insufficient_scope", scope="read""#)
        }
        Denied::NoToken | Denied::NoCertificate => (StatusCode::UNAUTHORIZED, r#"Bearer realm="shoal""#),
        Denied::Header => (StatusCode::UNAUTHORIZED, r#"Bearer realm="shoal", error="invalid_request""#),
        Denied::Unknown(_) | Denied::Expired(_) => {
            (StatusCode::UNAUTHORIZED, r#"Bearer realm="shoal", error="invalid_token""#)
        }
    };
    let detail = match denied {
        // Nobody shows a certificate here: browsers would ask people for one.
        Denied::NoToken | Denied::NoCertificate => NO_TOKEN.to_owned(),
        denied => denied.to_string(),
    };
    let mut response = HttpError::of(status, detail).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response.extensions_mut().extend(denied.token_id().map(told).unwrap_or_default());
    response
}

/// What the audit log hears of an answer.
fn told(token: TokenId) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(token);
    extensions
}

/// Tells of tokens in the description, so that the page of the routes has a place to give one.
pub(super) fn describe(description: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("shoal_<id>_<secret>")
        .description(Some("A token with the scope `read`; `shoal tokens create` makes one."))
        .build();
    let components = description.components.take().unwrap_or_else(|| ComponentsBuilder::new().build());
    let mut components = components;
    components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    description.components = Some(components);
    for (path, item) in &mut description.paths.paths {
        let needs = !FOR_EVERYBODY.contains(&path.as_str());
        for operation in [&mut item.get, &mut item.post].into_iter().flatten().filter(|_| needs) {
            operation.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
        }
    }
}

/// Queries on behalf of whoever asks.
impl FromRequestParts<Api> for Api {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Self) -> Result<Self, Self::Rejection> {
        let queries = api.queries.asked_by(parts.extensions.get::<Holder>());
        Ok(Self { queries, ..api.clone() })
    }
}
