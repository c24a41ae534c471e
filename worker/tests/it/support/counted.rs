//! TCP whose written bytes are counted.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use shoal_common::{rpc::Connect, tls::PeerRole};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::{Channel, Endpoint};

/// Makes connections and counts what clients write to them: HTTP/2 frames and everything in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Connect for Counted {
    fn connect_lazy(&self, endpoint: Endpoint, _callee: PeerRole) -> Channel {
        let bytes = Arc::clone(&self.bytes);
        let connector = tower::service_fn(move |uri: Uri| {
            let bytes = Arc::clone(&bytes);
            async move {
                let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
                let stream = TcpStream::connect(authority).await?;
                stream.set_nodelay(true)?;
                Ok::<_, io::Error>(TokioIo::new(CountedStream { stream, bytes }))
            }
        });
        endpoint.connect_with_connector_lazy(connector)
    }
}

struct CountedStream {
    stream: TcpStream,
    bytes: Arc<AtomicU64>,
}

impl CountedStream {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(length)) = &written {
            self.bytes.fetch_add(*length as u64, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
