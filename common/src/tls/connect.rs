//! Connections that are made, under TLS.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{
    certificates::{Tls, identity_of},
    identity::PeerRole,
    names::server_name,
    plain::does_not_speak_tls,
    stream::{NodeStream, Peer},
    trust::Trust,
};
use crate::rpc::Connect;

/// How long to wait for the other side's proof of who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Connects under TLS. The other side's certificate has to name the host that was called, this cluster and the role
/// that is expected there. A caller without a certificate takes any cluster of the authorities that it trusts.
#[derive(Debug, Clone)]
pub struct TlsConnect {
    caller: Caller,
}

#[derive(Debug, Clone)]
enum Caller {
    Certified(Tls),
    Uncertified(Trust),
}

impl TlsConnect {
    /// Connects with these certificates.
    #[must_use]
    pub fn new(tls: Tls) -> Self {
        Self { caller: Caller::Certified(tls) }
    }

    /// Connects without a certificate: whoever calls shows a token.
    #[must_use]
    pub fn uncertified(trust: Trust) -> Self {
        Self { caller: Caller::Uncertified(trust) }
    }

    /// One connection to a node that should have this role.
    ///
    /// # Errors
    /// When nobody answers, the certificate is not trusted, or it is another role's or another cluster's.
    pub async fn connect(&self, host: &str, port: u16, callee: PeerRole) -> io::Result<NodeStream> {
        self.prove(TcpStream::connect((host, port)).await?, host, Some(callee)).await
    }

    /// A channel to whichever node of this cluster listens at `address` (`host:port`): its certificate has to name the
    /// host of `endpoint`, which a node that asks itself does not have to be called at.
    pub fn to_any_node(&self, endpoint: &Endpoint, address: String) -> Channel {
        let connect = self.clone();
        endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
            let (connect, address) = (connect.clone(), address.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                connect.prove(stream, host_in(&uri), None).await.map(TokioIo::new)
            }
        }))
    }

    /// The handshake on a connection to `host`, and what the other side has to be.
    async fn prove(&self, stream: TcpStream, host: &str, callee: Option<PeerRole>) -> io::Result<NodeStream> {
        let (client, own) = match &self.caller {
            Caller::Certified(tls) => {
                let material = tls.current();
                (Arc::clone(&material.client), Some((tls, material)))
            }
            Caller::Uncertified(trust) => (trust.client(), None),
        };
        stream.set_nodelay(true)?;
        let address = stream.peer_addr().ok();
        let name = server_name(host)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("'{host}' is no host name")))?;
        let handshake = TlsConnector::from(client).connect(name, stream);
        let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)?;
        let at = || address.map_or_else(|| host.to_owned(), |address| address.to_string());
        let stream = stream.map_err(|error| match does_not_speak_tls(&error) {
            true => io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} does not speak TLS; leave certificates (--certs) out, or name another port",
                    at()
                ),
            ),
            false => error,
        })?;
        let chain = stream.get_ref().1.peer_certificates();
        let open = own.as_ref().and_then(|(tls, material)| tls.watch(chain, material));
        let identity = identity_of(stream.get_ref().1.peer_certificates())
            .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
        let cluster_id =
            own.as_ref().map_or(identity.cluster_id(), |(_, material)| material.identity.cluster_id());
        if identity.cluster_id() != cluster_id || callee.is_some_and(|callee| identity.role() != callee) {
            let expected = callee.map_or("node", PeerRole::name);
            let message =
                format!("{} is {identity}, where a {expected} of cluster '{cluster_id}' was expected", at());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(NodeStream::called(
            TlsStream::Client(stream),
            Peer { address, identity: Some(identity), certificate: None },
            open,
        ))
    }
}

impl Connect for TlsConnect {
    fn connect_lazy(&self, endpoint: Endpoint, callee: PeerRole) -> Channel {
        let connect = self.clone();
        endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
            let connect = connect.clone();
            async move {
                connect.connect(host_in(&uri), uri.port_u16().unwrap_or(443), callee).await.map(TokioIo::new)
            }
        }))
    }
}

/// The host of an address: IPv6 stands in brackets in a URI, and without them in a certificate.
fn host_in(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
