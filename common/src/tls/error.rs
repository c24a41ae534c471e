//! Why certificates cannot be used.

use std::{io, path::PathBuf};

use rustls::CertificateError;

use super::identity::{Identity, IdentityError};

/// Which keys work, for whoever has one that does not.
const KEY_KINDS: &str = "keys of nodes and authorities are ECDSA (P-256 or P-384), Ed25519, or RSA from 2,048 bits, and not encrypted";

/// Certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read '{path}': {source}; `shoal certs create` makes certificates")]
    Read {
        /// The file that cannot be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("'{path}' holds no {wanted} in PEM; `shoal certs create` makes certificates")]
    Pem {
        /// The file that was read.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The certificate does not say who its holder is.
    #[error("the certificate '{path}' does not say who its holder is: {source}")]
    Identity {
        /// The file of the certificate.
        path: PathBuf,
        /// What is wrong with its name.
        source: IdentityError,
    },
    /// Key and certificate do not belong together, or an algorithm is not supported.
    #[error("the certificate '{certificate}' cannot be used with the key '{key}': {source}; {KEY_KINDS}")]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of its key.
        key: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// The authorities' certificates cannot be used.
    #[error("the authority's certificate '{path}' cannot be used: {reason}")]
    Authority {
        /// The file of the authorities' certificates.
        path: PathBuf,
        /// What the TLS library said.
        reason: String,
    },
    /// The list of revoked certificates cannot be used.
    #[error("the list of revoked certificates '{path}' cannot be used: {reason}")]
    Revoked {
        /// The file of the list.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The list of revoked certificates was there, and is not any more.
    #[error(
        "the list of revoked certificates '{0}' is gone, and what it names would be trusted again; put it back, or start \
         the node anew to do without it"
    )]
    RevokedGone(PathBuf),
    /// Others would not trust the certificate.
    #[error(
        "the certificate '{certificate}' opens no door: by the authorities of '{ca}' it is refused ({reason}); \
         `shoal certs create --cluster-id ID --hosts HOST,… --renew` makes new ones"
    )]
    Untrusted {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the authorities' certificates.
        ca: PathBuf,
        /// What the TLS library said.
        reason: String,
    },
    /// The certificate is not for the host by which the node is called.
    #[error(
        "the certificate '{certificate}' cannot be shown at '{host}', by which others call this node ({reason}); make one with \
         `shoal certs create --cluster-id ID --hosts HOST,… --renew`, or name another address in node.advertise"
    )]
    Host {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The host of the address that others call.
        host: String,
        /// What the TLS library said.
        reason: String,
    },
    /// The certificate is another holder's.
    #[error(
        "the certificate '{path}' belongs to {found}, and this is {expected}; node.certs or node.tls names another's files"
    )]
    Holder {
        /// The file of the certificate.
        path: PathBuf,
        /// Who the certificate is for.
        found: Box<Identity>,
        /// Who is about to use the certificate.
        expected: Box<Identity>,
    },
}

/// What the TLS library says of a certificate, with the remedy where it is the kind of a key that it does not know.
pub(super) fn explained(error: &rustls::Error) -> String {
    let is_of_key = matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        )
    );
    if is_of_key { format!("{error}; {KEY_KINDS}") } else { error.to_string() }
}
