//! Hosts as certificates and addresses name them.

use rustls::pki_types::{InvalidDnsNameError, ServerName};

/// A host as a certificate names it: an IPv6 address stands in brackets in an address, and without them in a certificate.
///
/// # Errors
/// When it is neither a name nor an address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned())
}

/// The host of `host:port`.
#[must_use]
pub fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}
