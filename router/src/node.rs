//! One router process: it follows the metadata and serves HTTP and gRPC until told to stop, then
//! finishes what is under way.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Response, Uri};
use shoal_common::{
    access::{AcceptedCredentials, Callers, Guard, Scope, TokenCheck, TokenUses},
    audit::Audit,
    clock::Clock,
    config::{NodeConfig, RouterConfig},
    health::{self, Health},
    net::ConnectionLimits,
    node_report::Reporter,
    rpc::{Channels, tuned_server},
    shutdown::Shutdown,
    tls::{self, PeerRole, Protocol, Tls},
};
use shoal_core::hash::mix64;
use shoal_proto::{PUBLIC_FILE_DESCRIPTOR_SET, v1::recommender_server::RecommenderServer};
use tokio::{net::TcpListener, sync::watch};
use tonic::{Status, body::Body, service::Routes};
use tonic_health::ServingStatus;
use tower::util::MapResponseLayer;

use crate::{
    admission::Admission,
    cache::{AnswerCache, CacheLimits},
    fanout::FanOut,
    grpc::RecommenderService,
    held::{Held, HoldLayer},
    http::{
        RenderMetrics, Serves, Sources, Traffic,
        admin::{Coordinators, Proof, TrainingDefaults},
        routes, serve,
    },
    metadata_watch::{self, WatchConfig},
    query::{BATCH_TIMEOUT, Queries},
    snapshot::Snapshot,
    tokens::HeardTokens,
};

/// The service's name in the health protocol.
const SERVICE: &str = "shoal.v1.Recommender";

/// The service of coordinators, which a router does not have.
const COORDINATOR: &str = "shoal.v1.Coordinator";

/// How often gRPC health is brought up to date beside metadata changes, which do not tell of workers that are being left alone.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a gRPC request: twice those of a body over HTTP, which says the same.
const REQUEST_BYTES_MAX: usize = 512 * 1024;

/// How long an HTTP connection may be open with nothing sent or received.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(120);

/// Connections at once of those who look after the router.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// A router cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// Its HTTP server failed.
    #[error("the router's HTTP server failed")]
    Http(#[source] io::Error),
    /// Its gRPC server failed.
    #[error("the router's gRPC server failed")]
    Grpc(#[source] tonic::transport::Error),
    /// Reflection could not be set up.
    #[error("the router's gRPC reflection cannot be set up")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A listener has no address.
    #[error("the router's address cannot be told")]
    Address(#[source] io::Error),
}

/// Where a router's clients call.
#[derive(Debug)]
pub struct Doors {
    /// The listener of HTTP/1.1 and HTTP/2.
    pub http: TcpListener,
    /// The listener of HTTP for those who look after the router, with its metrics and the page of its routes; where there is
    /// none, `http` has them.
    pub admin: Option<TcpListener>,
    /// The listener of gRPC.
    pub grpc: TcpListener,
    /// With certificates, clients speak TLS at both.
    pub tls: Option<Tls>,
    /// What is said to who calls a method of coordinators here.
    pub elsewhere: &'static str,
    /// Whether coordinators are asked for changes; where they are not, `elsewhere` says why.
    pub takes_changes: bool,
    /// What models are trained with where nobody says.
    pub training_defaults: TrainingDefaults,
}

/// Where tokens are taken, questions need one. Health and the description of the service are for everybody.
fn callers(path: &str) -> Option<Callers> {
    let mut parts = path.strip_prefix('/')?.split('/');
    match parts.next()? {
        SERVICE if parts.next() == Some("Health") => Some(Callers::Anyone),
        SERVICE => Some(Callers::Scope(Scope::Read)),
        // They are told that they are wrong here.
        COORDINATOR => Some(Callers::Anyone),
        "grpc.health.v1.Health" | "grpc.reflection.v1.ServerReflection" => Some(Callers::Anyone),
        _ => None,
    }
}

/// Everybody may ask: a guard that lets all methods in still refuses what is no method of a router.
fn callers_without_tokens(path: &str) -> Option<Callers> {
    callers(path).map(|_| Callers::Anyone)
}

/// Runs a router on its two listeners until told to stop. The caller drains `shutdown`.
///
/// # Errors
/// When a server cannot be set up or fails.
pub async fn run(
    config: RouterConfig,
    doors: Doors,
    channels: Channels,
    clock: Arc<dyn Clock>,
    metrics: RenderMetrics,
    audit: Audit,
    shutdown: Shutdown,
) -> Result<(), RouterError> {
    let Doors { http, admin, grpc, tls, elsewhere, takes_changes, training_defaults } = doors;
    let http_address = http.local_addr().map_err(RouterError::Address)?;
    let admin_address =
        admin.as_ref().map(TcpListener::local_addr).transpose().map_err(RouterError::Address)?;
    let grpc_address = grpc.local_addr().map_err(RouterError::Address)?;
    let started = clock.now_unix_ms().unsigned_abs();
    let watching = WatchConfig {
        cluster_id: config.node.cluster_id.clone(),
        node: config.node.name.clone(),
        address: config.node.advertise.clone().unwrap_or_else(|| grpc_address.to_string()),
        incarnation: mix64(config.node.seed.unwrap_or(started) ^ started),
        protection: config.node.protection(&config.client_listeners()),
        coordinators: config.node.coordinators.clone(),
        reporter: Reporter::new(started.cast_signed(), &config.node.data_dir)
            .at_http(advertised_http(&config.node, http_address)),
    };
    let fanout = FanOut::new(config.hedge_after, config.hedge_percent, watching.incarnation);
    let token_uses = TokenUses::default();
    let (health, health_service) = health::of_node(PeerRole::Router, &config.node.name).await;
    let snapshots =
        metadata_watch::start(watching, token_uses.clone(), health.clone(), channels.clone(), &shutdown);
    let cluster_id = tls.as_ref().map(|_| config.node.cluster_id.as_str().into());
    let tokens = config
        .node
        .tokens
        .then(|| TokenCheck::new(Arc::new(HeardTokens(snapshots.clone())), Arc::clone(&clock), token_uses));
    let credentials = AcceptedCredentials { cluster_id, tokens };
    let admission = Admission::new(config.concurrency);
    let cache = AnswerCache::new(CacheLimits {
        entries: config.cache_entries,
        bytes: config.cache_bytes,
        ttl: config.cache_ttl,
    });
    let proof = match (&credentials.tokens, &tls) {
        // The coordinator is a part of this process, which changes nothing.
        _ if !takes_changes => Proof::Nothing,
        (Some(_), _) => Proof::Tokens,
        (None, Some(_)) => Proof::Certificates,
        (None, None) => Proof::Nothing,
    };
    let addresses = config.node.coordinators.clone();
    let coordinators =
        Coordinators::new(channels.clone(), addresses, Arc::clone(&clock), proof, shutdown.clone())
            .with_training_defaults(training_defaults);
    let coordinators = if takes_changes { coordinators } else { coordinators.without_changes(elsewhere) };
    let traffic = Arc::new(Traffic::new(Arc::clone(&clock)));
    shutdown.spawn("traffic", Arc::clone(&traffic).keep(shutdown.clone()));
    let queries = Queries::new(snapshots.clone(), channels, clock, fanout, admission, cache, config.timeout);
    shutdown.spawn("cache clearing", queries.clone().clear_cache_on_switch(shutdown.clone()));
    shutdown.spawn("looking for workers", queries.clone().look_for_workers(shutdown.clone()));
    shutdown.spawn("grpc health", report_health(health, queries.clone(), snapshots, shutdown.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(PUBLIC_FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(RouterError::Reflection)?;
    let recommender = RecommenderServer::new(RecommenderService::new(queries.clone()));
    let services = Routes::new(recommender.max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(health_service)
        .add_service(reflection);
    let services = with_refusal(services, elsewhere);
    tracing::info!(
        http = %http_address,
        grpc = %grpc_address,
        admin = admin_address.map(tracing::field::display),
        cache_entries = config.cache_entries,
        cache_bytes = config.cache_bytes,
        cache_ttl_s = config.cache_ttl.as_secs(),
        timeout_ms = config.timeout.as_millis() as u64,
        "router listens, waiting for a live version"
    );
    let guard = match (&credentials.tokens, &tls) {
        (Some(_), _) => Guard::new(credentials.clone(), callers),
        (None, Some(_)) => Guard::new(credentials.clone(), callers_without_tokens),
        (None, None) => Guard::open(),
    };
    let stop_grpc = shutdown.token();
    let asked_by = credentials.tokens.is_some().then_some(credentials);
    let sources = Sources { queries: queries.clone(), metrics, coordinators, traffic };
    let face = |hosts: &[String], serves: Serves| {
        let origins = &config.cors_origins;
        let asked_by = asked_by.clone();
        routes(sources.clone(), asked_by, origins, hosts, audit.clone(), serves)
    };
    let serves = if admin.is_some() { Serves::Clients } else { Serves::Everybody };
    let clients_routes = face(&config.hosts, serves);
    // Each of the two listeners of clients has its share: the one cannot starve the other.
    let limits = ConnectionLimits::of(config.node.connections / 2);
    let idle = HTTP_IDLE_MAX.max(2 * config.timeout.max(BATCH_TIMEOUT));
    let http_incoming = |listener, limits: ConnectionLimits| {
        tls::incoming(listener, limits.with_idle(idle), tls.clone(), Protocol::Http, audit.clone())
    };
    let http = http_incoming(http, limits);
    let serve_http = async { serve(http, clients_routes, shutdown.clone()).await.map_err(RouterError::Http) };
    let serve_admin = async {
        let Some(listener) = admin else { return Ok(()) };
        let hosts = config.admin.as_ref().map_or(&config.hosts, |admin| &admin.hosts);
        let incoming = http_incoming(listener, ConnectionLimits::of(ADMIN_CONNECTIONS_MAX));
        serve(incoming, face(hosts, Serves::Everybody), shutdown.clone()).await.map_err(RouterError::Http)
    };
    let serve_grpc = async {
        tuned_server(guard, audit.layer_with_overload())
            .layer(MapResponseLayer::new(|answer: Response<Held<Body>>| answer.map(Body::new)))
            .layer(HoldLayer)
            .add_routes(services)
            .serve_with_incoming_shutdown(
                tls::incoming(grpc, limits, tls.clone(), Protocol::Grpc, audit.clone()),
                stop_grpc.cancelled(),
            )
            .await
            .map_err(RouterError::Grpc)
    };
    tokio::try_join!(serve_http, serve_admin, serve_grpc).map(drop)
}

/// Where HTTP clients call, as others see it: an unspecified address is the host that the node is advertised by.
fn advertised_http(node: &NodeConfig, listen: SocketAddr) -> String {
    match &node.advertise {
        Some(advertise) if listen.ip().is_unspecified() => {
            format!("{}:{}", tls::host_of(advertise), listen.port())
        }
        _ => listen.to_string(),
    }
}

/// The services, and a sentence for whoever takes this node for a coordinator.
fn with_refusal(services: Routes, elsewhere: &'static str) -> Routes {
    let refuse = move |uri: Uri| async move {
        let is_coordinators = uri.path().split('/').nth(1) == Some(COORDINATOR);
        let status = match is_coordinators {
            true => Status::failed_precondition(elsewhere),
            false => Status::unimplemented(format!("this node has no method {}", uri.path())),
        };
        status.into_http::<Body>()
    };
    services.into_axum_router().fallback(refuse).into()
}

/// SERVING while queries may be sent here.
async fn report_health(
    health: Health,
    queries: Queries,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    stop: Shutdown,
) {
    loop {
        let waits_for = queries.waits_for();
        let status = if waits_for.is_none() { ServingStatus::Serving } else { ServingStatus::NotServing };
        metrics::gauge!("shoal_router_ready").set(f64::from(u8::from(waits_for.is_none())));
        queries.tell_cache();
        health.services().set_service_status(SERVICE, status).await;
        health.services().set_service_status("", status).await;
        health.set_readiness(waits_for).await;
        tokio::select! {
            biased;
            () = stop.requested() => break,
            changed = snapshots.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
    health.set_readiness(Some("it is stopping".to_owned())).await;
}
