//! Who is at the other end: mutual TLS between nodes, by certificates of the cluster's own authority.
//!
//! A certificate names its holder in its subject alternative names, as
//! `spiffe://<cluster id>/<role>/<name>` ([`Identity`]). [`Tls`] owns a node's certificates and reads them again when
//! their files change; connections that are open stay as they are. [`incoming`] accepts connections, [`TlsConnect`]
//! makes them, and a [guard](crate::access::Guard) says which roles may call which methods.
//!
//! A caller may come without a certificate: people's programs do. The guard, not the handshake, turns it away.

mod accept;
mod certificates;
mod connect;
mod identity;
mod stream;
mod trust;

pub use accept::incoming;
pub use certificates::{CertificateFacts, Protocol, Tls, TlsError, TlsFiles, host_of, server_name};
pub use connect::TlsConnect;
pub use identity::{Identity, IdentityError, PeerRole};
pub use stream::{NodeStream, Peer};
pub use trust::Trust;
