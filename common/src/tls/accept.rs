//! Connections that arrive, plain or under TLS.

use std::{io, pin::pin};

use futures::{Stream, StreamExt as _};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    certificates::{Protocol, Tls},
    stream::NodeStream,
};
use crate::{
    audit::{Audit, Entry, Outcome, Who},
    net::{ConnectionLimits, Connections},
};

/// Connections ready to be served that may wait.
const READY_MAX: usize = 16;

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
