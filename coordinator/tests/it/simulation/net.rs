//! The simulated network as the seams for connections take it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, stream};
use hyper_util::rt::TokioIo;
use shoal_common::{
    rpc::{Channels, Connect},
    tls::PeerRole,
};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Uri, server::Connected};
use tower::service_fn;
use turmoil::net::{TcpListener, TcpStream};

/// Connects by the names of simulated hosts.
#[derive(Debug)]
struct SimulatedConnect;

impl Connect for SimulatedConnect {
    fn connect_lazy(&self, endpoint: Endpoint, _callee: PeerRole) -> Channel {
        endpoint.connect_with_connector_lazy(service_fn(|uri: Uri| async move {
            let address = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or_default());
            TcpStream::connect(address).await.map(TokioIo::new)
        }))
    }
}

pub(super) fn channels() -> Channels {
    Channels::new(Arc::new(SimulatedConnect))
}

/// The connections that arrive at a port of the host that asks.
pub(super) async fn incoming(port: u16) -> io::Result<impl Stream<Item = io::Result<Accepted>>> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    Ok(stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| Accepted(stream));
        Some((accepted, listener))
    }))
}

/// A connection as a server takes it.
pub(super) struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
