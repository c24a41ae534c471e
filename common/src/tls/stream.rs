//! One connection between nodes, and who is at its other end.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use super::{identity::Identity, revoked::OpenConnection};
use crate::net::Connection;

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
    /// Ends the connection when the other end's certificate is revoked.
    open: Option<OpenConnection>,
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
    pub(super) fn plain(stream: Connection) -> Self {
        let peer = Peer { address: stream.peer_addr(), identity: None, certificate: None };
        Self { transport: Transport::Plain(Box::new(stream)), peer, open: None }
    }

    /// An accepted connection under TLS.
    pub(super) fn accepted(stream: TlsStream<Connection>, peer: Peer, open: Option<OpenConnection>) -> Self {
        Self { transport: Transport::Accepted(Box::new(stream)), peer, open }
    }

    /// A connection to another node.
    pub(super) fn called(stream: TlsStream<TcpStream>, peer: Peer, open: Option<OpenConnection>) -> Self {
        Self { transport: Transport::Called(Box::new(stream)), peer, open }
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

impl Connected for NodeStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(Poll::Ready(ended)) = this.open.as_mut().map(|open| open.poll_ended(cx)) {
            return Poll::Ready(Err(ended));
        }
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
