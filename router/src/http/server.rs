//! The HTTP server: what `axum::serve` does, with limits on what a connection may make the router keep and on how
//! long it may take to say what it wants.

use std::{io, time::Duration};

use axum::Router;
use axum::http::Request;
use futures::{Stream, StreamExt as _};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use shoal_common::{shutdown::Shutdown, tls::NodeStream};
use tower::ServiceExt as _;

/// Request line and headers of a request at most.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Headers of a request at most.
const HEADERS_MAX: usize = 64;
/// How long a client may take to send its headers, and stay idle between requests.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// Requests of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 256;

/// Serves the connections that arrive until told to stop, then lets what is under way end.
///
/// # Errors
/// When no more connections can arrive.
pub async fn serve(
    incoming: impl Stream<Item = io::Result<NodeStream>>,
    routes: Router,
    stop: Shutdown,
) -> io::Result<()> {
    let mut incoming = Box::pin(incoming);
    let graceful = GracefulShutdown::new();
    let builder = builder();
    loop {
        tokio::select! {
            biased;
            // No new connections once told to stop.
            () = stop.requested() => break,
            arrived = incoming.next() => match arrived {
                Some(stream) => connect(stream?, &routes, &builder, &graceful, &stop),
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            },
        }
    }
    drop(incoming);
    graceful.shutdown().await;
    Ok(())
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX);
    builder
}

fn connect(
    stream: NodeStream,
    routes: &Router,
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stop: &Shutdown,
) {
    let peer = stream.peer().clone();
    let service = routes.clone().map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request
    });
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    stop.spawn("http connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(error, "a connection ended early");
        }
    });
}
