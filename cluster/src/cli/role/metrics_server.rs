//! `GET /metrics` on a port of its own, for the roles that have no HTTP of their own.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{Router, http::header, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use shoal_common::{net, shutdown::Shutdown};

/// What Prometheus expects a text exposition to be called.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Serves the metrics where asked to; where that turned out to be.
pub(super) async fn spawn(
    listen: Option<SocketAddr>,
    metrics: PrometheusHandle,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(listen) = listen else { return Ok(None) };
    let listener = net::bind(listen).await?;
    let bound = listener.local_addr().context("cannot tell where the listener is")?;
    let render = move || {
        let text = metrics.render();
        async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], text) }
    };
    let app = Router::new().route("/metrics", get(render));
    let stop = shutdown.clone();
    shutdown.spawn("metrics server", async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(async move { stop.requested().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the metrics server failed");
        }
    });
    Ok(Some(bound))
}
