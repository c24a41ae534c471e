//! HTTP: two faces over one set of use cases, and what holds for every route of them.
//!
//! `v1` is the product's own face, of items; `movies` is the contract that clients of `/recommendations` are written
//! against. A face has its paths, its description and the JSON of its answers; `requests` reads and asks for both.
//! `admin` tells those who look after the cluster how it is. `service` has the routes about the service itself, `docs` the page to try them all on,
//! and `dashboard` the pages to look after all of it.

pub mod admin;
mod answers;
mod api;
mod bodies;
mod dashboard;
mod docs;
mod error;
mod hosts;
mod limits;
mod manners;
mod measure;
mod movies;
mod openapi;
mod parameters;
mod refusals;
mod requests;
mod server;
mod service;
mod tokens;
mod traffic;
mod v1;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, Method, Uri},
    middleware,
    response::IntoResponse,
};
use shoal_common::{access::AcceptedCredentials, audit::Audit};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::RequestBodyDeadlineLayer,
};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use self::{
    api::Api,
    error::HttpError,
    hosts::Hosts,
    limits::{BODY_BYTES_MAX, BODY_TIME_MAX},
    openapi::{DOCS_PATH, Description, OPENAPI_PATH},
};
use crate::held::HoldLayer;

pub use self::{
    admin::views,
    api::{RenderMetrics, Serves, Sources},
    server::serve,
    traffic::Traffic,
};

/// The routes, which answer from `sources`. `cors_origins` are the origins whose pages may call from a browser, `*` for any; `hosts` the names that a
/// request may be addressed to, none of them for any; `asked_by`, where callers need it, what proves that they may ask.
/// Refusals of callers are told to `audit`.
/// `serves` says for whom they are.
pub fn routes(
    sources: Sources,
    asked_by: Option<AcceptedCredentials>,
    cors_origins: &[String],
    hosts: &[String],
    audit: Audit,
    serves: Serves,
) -> Router {
    let Sources { queries, metrics, coordinators, traffic } = sources;
    let everybody = serves == Serves::Everybody;
    let for_administrators = match everybody {
        true => service::metrics_route().merge(admin::routes()),
        false => OpenApiRouter::new(),
    };
    let (router, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(v1::routes())
        .merge(service::routes())
        .merge(for_administrators)
        .merge(movies::routes())
        .split_for_parts();
    let index = index_of(&description, serves);
    if asked_by.is_some() {
        tokens::describe(&mut description);
    }
    let pages = match everybody {
        true => docs::routes(description).merge(dashboard::routes()),
        false => Router::new(),
    };
    let router = router
        .with_state(Api {
            queries,
            metrics,
            coordinators,
            traffic: Arc::clone(&traffic),
            cors_origins: cors_origins.into(),
            index,
            serves,
        })
        .merge(pages)
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyDeadlineLayer::new(BODY_TIME_MAX))
        .layer(CompressionLayer::new())
        .layer(HoldLayer);
    let router = match asked_by {
        Some(credentials) => router.layer(middleware::from_fn_with_state(credentials, tokens::check)),
        None => router,
    };
    let router = router
        .layer(middleware::from_fn(manners::mind))
        .layer(CatchPanicLayer::custom(|_| HttpError::defect().into_response()))
        .layer(middleware::from_fn_with_state(Hosts::from(hosts), hosts::check))
        .layer(middleware::from_fn_with_state(audit, refusals::tell))
        .layer(middleware::from_fn_with_state(traffic, measure::measure));
    let router = match cors(cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// `GET /path` of every route that is described.
fn index_of(description: &utoipa::openapi::OpenApi, serves: Serves) -> Arc<[String]> {
    let paths = description.paths.paths.iter();
    let routes = |(path, item): (&String, &utoipa::openapi::PathItem)| {
        let methods = [("GET", item.get.is_some()), ("POST", item.post.is_some())];
        let taken = methods.into_iter().filter(|(_, taken)| *taken);
        taken.map(|(method, _)| format!("{method} {path}")).collect::<Vec<String>>()
    };
    let page = [dashboard::DASHBOARD_PATH, DOCS_PATH, OPENAPI_PATH]
        .into_iter()
        .filter(|_| serves == Serves::Everybody);
    paths.flat_map(routes).chain(page.map(|path| format!("GET {path}"))).collect()
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let any = origins.iter().any(|origin| origin == "*");
    // Origins were checked when the settings were read.
    let listed = origins.iter().filter_map(|origin| origin.parse().ok()).collect::<Vec<HeaderValue>>();
    let allowed = if any { AllowOrigin::any() } else { AllowOrigin::list(listed) };
    // `*` would not stand for `Authorization`.
    let methods = [Method::GET, Method::POST];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods(methods)
            .allow_headers(AllowHeaders::mirror_request()),
    )
}

async fn no_route(uri: Uri) -> HttpError {
    let path = uri.path();
    let index = if path.starts_with("/v1") { "/" } else { "/recommendations/" };
    HttpError::not_found(format!("there is no '{path}'; GET {index} lists the routes"))
}

async fn wrong_method(method: Method, uri: Uri) -> HttpError {
    HttpError::wrong_method(format!("'{}' does not take {method}", uri.path()))
}

/// Reads a query string with the parameters of a list, and forgets it. For fuzz targets, as the next.
///
/// # Errors
/// The refusal's sentence.
#[doc(hidden)]
pub fn read_query_string(query: &str) -> Result<(), String> {
    let read = || {
        let mut parameters = parameters::Parameters::read(Some(query), &crate::words::Words::OWN)?;
        parameters.options()?;
        parameters.timeout()?;
        parameters.finish()
    };
    read().map_err(|error: error::HttpError| format!("{error:?}"))
}

/// Reads a body as that of each route that has one.
///
/// # Errors
/// The refusals' sentences.
#[doc(hidden)]
pub fn read_body(body: &str) -> Result<(), String> {
    let refusals = [
        bodies::pair(body, &crate::words::Words::OWN).err(),
        bodies::items(body, &crate::words::Words::OWN).err(),
        bodies::users(body, &crate::words::Words::OWN).err(),
    ];
    if refusals.iter().any(Option::is_none) { Ok(()) } else { Err(format!("{refusals:?}")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        body::{Body, Bytes, to_bytes},
        http::{Request, StatusCode},
    };
    use shoal_common::{clock::SystemClock, rpc::Channels, shutdown::Shutdown};
    use tokio::sync::watch;
    use tower::ServiceExt as _;

    use super::{
        admin::{Coordinators, Proof},
        *,
    };
    use crate::{
        admission::Admission,
        cache::{AnswerCache, CacheLimits},
        fanout::FanOut,
        query::Queries,
    };

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_not_waited_for_without_end() {
        let (_sender, snapshots) = watch::channel(Arc::default());
        let limits = CacheLimits { entries: 0, bytes: 0, ttl: Duration::ZERO };
        let queries = Queries::new(
            snapshots,
            Channels::tcp(),
            Arc::new(SystemClock),
            FanOut::new(Duration::ZERO, 0, 1),
            Admission::new(1),
            AnswerCache::new(limits),
            Duration::from_secs(1),
        );
        let clock = Arc::new(SystemClock);
        let addresses = vec!["127.0.0.1:1".to_owned()];
        let sources = Sources {
            queries,
            metrics: Arc::new(String::new),
            coordinators: Coordinators::new(
                Channels::tcp(),
                addresses,
                clock.clone(),
                Proof::Nothing,
                Shutdown::new(),
            ),
            traffic: Arc::new(Traffic::new(clock)),
        };
        let begun = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let body = Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
        let request = Request::post("/v1/recommendations").body(body).unwrap();
        let answering = routes(sources, None, &[], &[], Audit::nowhere(), Serves::Everybody).oneshot(request);
        let response = tokio::time::timeout(BODY_TIME_MAX * 2, answering).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        let text = to_bytes(response.into_body(), 1_000).await.unwrap();
        assert!(String::from_utf8_lossy(&text).contains("30 seconds"), "{text:?}");
    }
}
