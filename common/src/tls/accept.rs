//! Connections that arrive, plain or under TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{Identity, Protocol, Tls};

/// Handshakes under way at once. More callers wait in the listener's own queue.
const HANDSHAKES_MAX: usize = 256;

/// Connections ready to be served that may wait.
const READY_MAX: usize = 16;

/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who called, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// From where.
    pub address: Option<SocketAddr>,
    /// By the certificate that the caller proved to hold; `None` without a certificate or without TLS.
    pub identity: Option<Identity>,
}

/// A connection to a node, plain or under TLS.
#[derive(Debug)]
pub struct NodeStream {
    transport: Transport,
    peer: Peer,
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl NodeStream {
    /// A connection without encryption.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        let peer = Peer { address: stream.peer_addr().ok(), identity: None };
        Self { transport: Transport::Plain(stream), peer }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, peer: Peer) -> Self {
        Self { transport: Transport::Tls(Box::new(stream)), peer }
    }

    /// Who called.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// The connections that arrive at a listener, ready to be served. Under TLS a slow caller holds up nobody: handshakes
/// run beside each other, and one that fails is not heard of here.
pub fn incoming(
    listener: TcpListener,
    tls: Option<Tls>,
    protocol: Protocol,
) -> impl Stream<Item = io::Result<NodeStream>> + Send + 'static {
    let (ready, arrived) = mpsc::channel(READY_MAX);
    tokio::spawn(accept(listener, tls, protocol, ready));
    ReceiverStream::new(arrived)
}

/// Accepts until nobody takes connections any more.
async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    protocol: Protocol,
    ready: mpsc::Sender<io::Result<NodeStream>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_the_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A message is one small write: waiting for more would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set nodelay");
        }
        let Some(tls) = tls.clone() else {
            if ready.send(Ok(NodeStream::plain(stream))).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let ready = ready.clone();
        tokio::spawn(async move {
            match tls.accept(stream, protocol).await {
                // When nobody takes connections any more, this one is closed with the rest.
                Ok(stream) => drop(ready.send(Ok(stream)).await),
                Err(error) => {
                    metrics::counter!("shoal_handshakes_failed_total").increment(1);
                    tracing::debug!(%error, "a caller failed to say who it is");
                }
            }
            drop(permit);
        });
    }
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

impl Connected for NodeStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
