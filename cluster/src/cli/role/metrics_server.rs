//! `GET /metrics` on a port of its own, for the roles that have no HTTP of their own.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use axum::{Router, http::header, routing::get, serve::Listener};
use shoal_common::{
    net::{self, Connection, ConnectionLimits, Connections},
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tokio::net::TcpListener;

/// Connections at once: whoever reads metrics needs one.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may be open with nothing sent or received.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What Prometheus expects a text exposition to be called.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Serves the metrics where asked to; where that turned out to be.
pub(super) async fn spawn(
    listen: Option<SocketAddr>,
    metrics: Metrics,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(listen) = listen else { return Ok(None) };
    let listener = net::bind(listen).await?;
    let bound = listener.local_addr().context("cannot tell where the listener is")?;
    let limits = ConnectionLimits::of(CONNECTIONS_MAX).with_idle(IDLE_MAX);
    let listener = Limited { listener, connections: Connections::new(limits) };
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

/// A listener whose connections are counted.
struct Limited {
    listener: TcpListener,
    connections: Connections,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Some(connection) = self.connections.admit(stream) {
                return (connection, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
