//! Connections that are made, under TLS.

use std::{io, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{
    NodeStream, Peer, PeerRole, Tls,
    certificates::{identity_of, server_name},
};
use crate::rpc::Connect;

/// How long to wait for the other side's proof of who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Connects under TLS. The other side's certificate has to name the host that was called, this cluster and the role
/// that is expected there.
#[derive(Debug, Clone)]
pub struct TlsConnect {
    tls: Tls,
}

impl TlsConnect {
    /// Connects with these certificates.
    #[must_use]
    pub fn new(tls: Tls) -> Self {
        Self { tls }
    }

    /// One connection to a node that should have this role.
    ///
    /// # Errors
    /// When nobody answers, the certificate is not trusted, or it is another role's or another cluster's.
    pub async fn connect(&self, host: &str, port: u16, callee: PeerRole) -> io::Result<NodeStream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let address = stream.peer_addr().ok();
        let name = server_name(host)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("'{host}' is no host name")))?;
        let handshake = TlsConnector::from(self.tls.client()).connect(name, stream);
        let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let identity = identity_of(stream.get_ref().1.peer_certificates())
            .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
        let own = self.tls.identity();
        if identity.cluster_id() != own.cluster_id() || identity.role() != callee {
            let message = format!(
                "{host}:{port} is {identity}, where a {callee} of cluster '{}' was expected",
                own.cluster_id()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(NodeStream::called(
            TlsStream::Client(stream),
            Peer { address, identity: Some(identity), certificate: None },
        ))
    }
}

impl Connect for TlsConnect {
    fn connect_lazy(&self, endpoint: Endpoint, callee: PeerRole) -> Channel {
        let connect = self.clone();
        endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
            let connect = connect.clone();
            async move {
                let host = uri.host().unwrap_or_default();
                // An IPv6 address stands in brackets in a URI, and without them in a certificate.
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                connect.connect(host, uri.port_u16().unwrap_or(443), callee).await.map(TokioIo::new)
            }
        }))
    }
}
