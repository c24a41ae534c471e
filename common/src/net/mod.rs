//! Listeners are bound by whoever starts a role and handed in: tests bind port 0, simulation its
//! own network, and no role guesses a port. [`Connections`] limits what a listener accepts.

mod connections;

use std::{io, net::SocketAddr};

pub use connections::{Connection, ConnectionLimits, Connections};
use tokio::net::TcpListener;

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another address or stop what uses it")]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Binds a TCP listener (port 0 picks a free port; ask the listener which).
///
/// # Errors
/// When the address is taken or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}
