//! The files of a node's certificates.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::error::TlsError;

/// The lists of revoked certificates in a folder as `shoal certs revoke` makes it.
pub const REVOKED_FILE: &str = "revoked.pem";

/// The files of a node's certificates, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that the cluster trusts.
    pub ca: PathBuf,
    /// The node's own certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// The private key of the node's certificate.
    pub key: PathBuf,
    /// Lists of revoked certificates.
    pub revoked: Option<RevokedFile>,
}

/// A file of lists of revoked certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedFile {
    /// The file.
    pub path: PathBuf,
    /// Whether it has to be there.
    pub is_needed: bool,
}

impl RevokedFile {
    /// What the file holds; none where it need not be there and is not.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, TlsError> {
        match std::fs::read(&self.path) {
            Ok(pem) => Ok(Some(pem)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_needed => Ok(None),
            Err(source) => Err(TlsError::Read { path: self.path.clone(), source }),
        }
    }
}

impl TlsFiles {
    /// The files of the holder called `name` in a folder as `shoal certs create` makes it.
    #[must_use]
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
            revoked: Some(RevokedFile { path: folder.join(REVOKED_FILE), is_needed: false }),
        }
    }
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = || TlsError::Pem { path: path.to_owned(), wanted: "certificate" };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| refused())?;
    if found.is_empty() { Err(refused()) } else { Ok(found) }
}
