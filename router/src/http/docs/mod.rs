//! The page to read about every route and to try it, made from the description; all of it is compiled in.
//!
//! The page is ours; the part that shows routes and sends requests is Swagger UI without its bar.

use axum::{
    Router,
    http::header,
    response::{Html, IntoResponse, Redirect},
    routing::get,
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use super::openapi::{DOCS_PATH, OPENAPI_PATH};

/// Where the page's script and styles come from.
const PARTS_PATH: &str = "/docs/ui";

/// The page's own script: a page without scripts in its text can be told to run none from there.
const SCRIPT_PATH: &str = "/docs/page.js";

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page.js"))
}

pub(super) fn routes(description: OpenApi) -> Router {
    Router::new()
        .route(DOCS_PATH, get(Html(include_str!("page.html"))))
        .route(SCRIPT_PATH, get(script))
        .route(&format!("{DOCS_PATH}/"), get(Redirect::permanent(DOCS_PATH)))
        .merge(SwaggerUi::new(PARTS_PATH).url(OPENAPI_PATH, description))
}
