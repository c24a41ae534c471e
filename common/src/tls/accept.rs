//! Connections that arrive, plain or under TLS.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures::{Stream, StreamExt as _};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{Identity, Protocol, Tls};
use crate::{
    audit::{Audit, Entry, Outcome, Who},
    net::{Connection, ConnectionLimits, Connections},
};

/// Connections ready to be served that may wait.
const READY_MAX: usize = 16;

/// Who called, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Address and port of the caller; `None` where the stream has no address.
    pub address: Option<SocketAddr>,
    /// By the certificate that the caller proved to hold; `None` without a certificate or without TLS.
    pub identity: Option<Identity>,
    /// The certificate itself, also one that names nobody.
    pub certificate: Option<CertificateDer<'static>>,
}

/// A connection to a node, plain or under TLS.
#[derive(Debug)]
pub struct NodeStream {
    transport: Transport,
    peer: Peer,
}

#[derive(Debug)]
enum Transport {
    Plain(Box<Connection>),
    Accepted(Box<TlsStream<Connection>>),
    Called(Box<TlsStream<TcpStream>>),
}

/// What bytes go through.
trait Socket: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

impl NodeStream {
    /// An accepted connection without encryption.
    fn plain(stream: Connection) -> Self {
        let peer = Peer { address: stream.peer_addr(), identity: None, certificate: None };
        Self { transport: Transport::Plain(Box::new(stream)), peer }
    }

    /// An accepted connection under TLS.
    pub(super) fn accepted(stream: TlsStream<Connection>, peer: Peer) -> Self {
        Self { transport: Transport::Accepted(Box::new(stream)), peer }
    }

    /// A connection to another node.
    pub(super) fn called(stream: TlsStream<TcpStream>, peer: Peer) -> Self {
        Self { transport: Transport::Called(Box::new(stream)), peer }
    }

    fn socket(&mut self) -> Pin<&mut dyn Socket> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream.as_mut()),
            Transport::Accepted(stream) => Pin::new(stream.as_mut()),
            Transport::Called(stream) => Pin::new(stream.as_mut()),
        }
    }

    /// Who is at the other end, as far as it is known.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// The connections that arrive at a listener, within limits and ready to be served. Under TLS a slow caller holds up nobody: handshakes
/// run beside each other, as many as there may be connections, and one that fails is not heard of here; `audit` is told where that
/// is because of the caller's certificate.
pub fn incoming(
    listener: TcpListener,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    protocol: Protocol,
    audit: Audit,
) -> impl Stream<Item = io::Result<NodeStream>> + Send + 'static {
    let (ready, arrived) = mpsc::channel(READY_MAX);
    tokio::spawn(accept(listener, limits, tls, protocol, audit, ready));
    ReceiverStream::new(arrived)
}

/// Accepts until nobody takes connections any more.
async fn accept(
    listener: TcpListener,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    protocol: Protocol,
    audit: Audit,
    ready: mpsc::Sender<io::Result<NodeStream>>,
) {
    let mut accepted = pin!(Connections::new(limits).accept(listener));
    loop {
        let stream = tokio::select! {
            biased;
            () = ready.closed() => return,
            accepted = accepted.next() => match accepted {
                Some(Ok(stream)) => stream,
                Some(Err(_)) | None => return,
            },
        };
        let Some(tls) = tls.clone() else {
            if ready.send(Ok(NodeStream::plain(stream))).await.is_err() {
                return;
            }
            continue;
        };
        let (ready, audit) = (ready.clone(), audit.clone());
        tokio::spawn(async move {
            let address = stream.peer_addr();
            match tls.accept(stream, protocol).await {
                // When nobody takes connections any more, this one is closed with the rest.
                Ok(stream) => drop(ready.send(Ok(stream)).await),
                Err(error) => {
                    metrics::counter!("shoal_handshakes_failed_total").increment(1);
                    tracing::debug!(%error, "a caller failed to say who it is");
                    if is_refused_certificate(&error) {
                        let who = Who { address, ..Who::default() };
                        audit.refuse(Entry::new("handshake", who, Outcome::refused(&error.to_string())));
                    }
                }
            }
        });
    }
}

/// Whether a handshake failed because of the certificate that the other side showed, and not on its way.
fn is_refused_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

impl Connected for NodeStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = this.socket().poll_read(cx, buf);
        if let Transport::Accepted(stream) = &mut this.transport {
            stream.get_mut().0.hear_protocol(&buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().socket().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().socket().poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Accepted(stream) => stream.is_write_vectored(),
            Transport::Called(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket().poll_shutdown(cx)
    }
}
