//! Whom a caller without a certificate trusts: people with a token have the authority's certificate alone.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::ring,
};

use super::{
    error::TlsError,
    files::{REVOKED_FILE, RevokedFile, certificates},
    material::revocation_lists,
};

/// The authorities that a caller without a certificate trusts. Clones share them.
#[derive(Debug, Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Reads the authorities' certificates, in PEM, and the list of revoked certificates that may be beside them.
    ///
    /// # Errors
    /// When the file cannot be read or holds none that can be used.
    pub fn load(ca: &Path) -> Result<Self, TlsError> {
        let pem = std::fs::read(ca).map_err(|source| TlsError::Read { path: ca.to_owned(), source })?;
        let refused = |reason: String| TlsError::Authority { path: ca.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca, &pem)? {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        let provider = Arc::new(ring::default_provider());
        let revoked = RevokedFile { path: ca.with_file_name(REVOKED_FILE), is_needed: false };
        let (lists, _) = revocation_lists(&revoked.path, revoked.read()?.as_deref())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .with_crls(lists)
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(error.to_string()))?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self(Arc::new(client)))
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}
