//! One channel per address, made lazily and kept.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

use crate::tls::PeerRole;

/// Makes connections: TCP in production, the simulated network in simulation.
pub trait Connect: Send + Sync + fmt::Debug + 'static {
    /// A channel that connects when first used and again after a failure, to a node of the role `callee`.
    fn connect_lazy(&self, endpoint: Endpoint, callee: PeerRole) -> Channel;
}

/// Connects over TCP without encryption.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnect;

impl Connect for TcpConnect {
    fn connect_lazy(&self, endpoint: Endpoint, _callee: PeerRole) -> Channel {
        endpoint.connect_lazy()
    }
}

/// An address is not `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("'{address}' is not a host:port address")]
pub struct RpcAddressError {
    /// The address as the configuration or the peer gave it.
    pub address: String,
    /// What the parser said.
    pub source: tonic::transport::Error,
}

impl From<RpcAddressError> for tonic::Status {
    fn from(error: RpcAddressError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// A cache of channels. Clones share it. A channel works as long as the runtime in which it was first asked for: nodes have one.
#[derive(Debug, Clone)]
pub struct Channels {
    connector: Arc<dyn Connect>,
    open: Arc<Mutex<HashMap<(PeerRole, String), Channel>>>,
}

impl Channels {
    /// An empty cache over this connector.
    #[must_use]
    pub fn new(connector: Arc<dyn Connect>) -> Self {
        Self { connector, open: Arc::default() }
    }

    /// Channels over TCP without TLS.
    #[must_use]
    pub fn tcp() -> Self {
        Self::new(Arc::new(TcpConnect))
    }

    /// The channel to `host:port`, where a node of the role `callee` should be. Windows are sized for factor rows: the defaults halve the
    /// throughput of bulk streams.
    ///
    /// # Errors
    /// When the address cannot be parsed.
    pub fn get(&self, address: &str, callee: PeerRole) -> Result<Channel, RpcAddressError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(&(callee, address.to_owned())) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|source| RpcAddressError { address: address.to_owned(), source })?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .initial_stream_window_size(8 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true);
        let channel = self.connector.connect_lazy(endpoint, callee);
        open.insert((callee, address.to_owned()), channel.clone());
        Ok(channel)
    }
}
