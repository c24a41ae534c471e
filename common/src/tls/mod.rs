//! Who is at the other end: mutual TLS between nodes, by certificates of the cluster's own authority.
//!
//! A certificate names its holder in its subject alternative names, as
//! `spiffe://<cluster id>/<role>/<name>` ([`Identity`]). [`Tls`] owns a node's certificates and reads them again when
//! their files change; connections that are open stay as they are, unless the other
//! end's certificate is revoked. [`incoming`] accepts connections, [`TlsConnect`]
//! makes them, and a [guard](crate::access::Guard) says which roles may call which methods.
//!
//! A caller may come without a certificate: people's programs do. The guard, not the handshake, turns it away.

mod accept;
mod certificates;
mod connect;
mod error;
mod files;
mod identity;
mod material;
mod names;
mod plain;
mod revoked;
mod stream;
mod trust;

pub use accept::incoming;
pub use certificates::{CertificateFacts, Protocol, Reload, Tls, issued_by};
pub use connect::TlsConnect;
pub use error::TlsError;
pub use files::{REVOKED_FILE, RevokedFile, TlsFiles};
pub use identity::{Identity, IdentityError, PeerRole};
pub use names::{host_of, server_name};
pub use plain::does_not_speak_tls;
pub use revoked::RevokedFacts;
pub use stream::{NodeStream, Peer};
pub use trust::Trust;
