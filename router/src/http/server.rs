//! The HTTP server: what `axum::serve` does, with limits on what a connection may make the router keep and on how
//! long it may take to say what it wants.

use std::{io, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use shoal_common::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpStream};

/// Request line and headers of a request at most.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Headers of a request at most.
const HEADERS_MAX: usize = 64;
/// How long a client may take to send its headers, and stay idle between requests.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// Requests of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 256;
/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until told to stop, then lets what is under way end.
///
/// # Errors
/// When the listener cannot be used any more.
pub async fn serve(listener: TcpListener, routes: Router, stop: Shutdown) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let builder = builder();
    loop {
        tokio::select! {
            biased;
            // No new connections once told to stop.
            () = stop.requested() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connect(stream, &routes, &builder, &graceful, &stop),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
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
    stream: TcpStream,
    routes: &Router,
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stop: &Shutdown,
) {
    // An answer is one small write: waiting for more would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    let service = TowerToHyperService::new(routes.clone());
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    stop.spawn("http connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(error, "a connection ended early");
        }
    });
}

/// Whether only this connection failed, before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
