//! The certificates of a node, in files that may change while it runs.

use std::{
    fmt, io,
    net::IpAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
};

use super::{
    error::TlsError,
    files::{TlsFiles, certificates},
    identity::{Identity, IdentityError},
    material::{FileContents, Material},
    plain,
    revoked::{OpenConnection, OpenConnections},
    stream::{NodeStream, Peer},
};
use crate::net::Connection;

/// How long a caller may take to say hello and prove who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What a server is spoken to in, under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC: HTTP/2 alone; callers are asked for a certificate and may have none.
    Grpc,
    /// HTTP/1.1 and HTTP/2; callers are not asked, since browsers would ask people.
    Http,
}

/// A node's certificates, read again when their files change. Clones share them.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsFiles>,
    /// By which host others call the holder, where it is a node.
    host: Option<Arc<str>>,
    current: Arc<RwLock<Arc<Material>>>,
    /// Connections whose other ends have certificates.
    open: OpenConnections,
}

/// What came of reading the files again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// Nothing has changed.
    Unchanged,
    /// New connections are made with what the files hold now.
    Replaced {
        /// Open connections that were ended, because the certificate at their other end is revoked now.
        ended: usize,
    },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).field("identity", &self.identity()).finish()
    }
}

impl Tls {
    /// Reads the files and checks them.
    ///
    /// # Errors
    /// When a file is missing, does not hold what it should, certificate and key do not belong together, or the
    /// certificate is not trusted by its own authority now.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = FileContents::read(&files)?;
        let material = Material::new(&files, contents, None)?;
        let current = Arc::new(RwLock::new(Arc::new(material)));
        Ok(Self { files: Arc::new(files), host: None, current, open: OpenConnections::default() })
    }

    /// As [`Tls::load`], for a node that is `expected` and that others call by the host `host`.
    ///
    /// # Errors
    /// As [`Tls::load`], and when the certificate is another holder's or not for this host.
    pub fn load_as(files: TlsFiles, expected: Identity, host: &str) -> Result<Self, TlsError> {
        let contents = FileContents::read(&files)?;
        let material = Material::new(&files, contents, Some(host))?;
        if material.identity != expected {
            let (path, found) = (files.certificate, material.identity);
            return Err(TlsError::Holder { path, found: found.into(), expected: expected.into() });
        }
        let current = Arc::new(RwLock::new(Arc::new(material)));
        Ok(Self {
            files: Arc::new(files),
            host: Some(host.into()),
            current,
            open: OpenConnections::default(),
        })
    }

    /// Reads the files again. New connections are made with what they hold; open ones stay, unless the certificate at the
    /// other end is revoked now.
    ///
    /// # Errors
    /// As [`Tls::load_as`], and when the list of revoked certificates is gone: what was read before stays in use.
    pub fn reload(&self) -> Result<Reload, TlsError> {
        let contents = FileContents::read(&self.files)?;
        let before = self.current();
        if contents == before.read {
            return Ok(Reload::Unchanged);
        }
        if let (Some(file), Some(_), None) = (&self.files.revoked, &before.read.revoked, &contents.revoked) {
            return Err(TlsError::RevokedGone(file.path.clone()));
        }
        let material = Material::new(&self.files, contents, self.host.as_deref())?;
        if material.identity != before.identity {
            let (found, expected) = (material.identity, before.identity.clone());
            let path = self.files.certificate.clone();
            return Err(TlsError::Holder { path, found: found.into(), expected: expected.into() });
        }
        let material = Arc::new(material);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&material);
        Ok(Reload::Replaced { ended: self.open.end_revoked(material.verifier.as_ref()) })
    }

    /// Seconds since 1970, when the first of the lists of revoked certificates should have been replaced.
    #[must_use]
    pub fn lists_due(&self) -> Option<i64> {
        self.current().lists_due
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.current().identity.clone()
    }

    /// Seconds since 1970, from when on the certificate is no longer valid.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.current().not_after
    }

    /// Speaks TLS with a caller that has connected.
    ///
    /// # Errors
    /// When the caller does not speak TLS, has a certificate that nobody here trusts, or takes too long.
    pub async fn accept(&self, mut stream: Connection, protocol: Protocol) -> io::Result<NodeStream> {
        let address = stream.peer_addr();
        stream.expect_protocol_within();
        if let Some(refusal) = timeout(HANDSHAKE_MAX, plain::refuse(&mut stream))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??
        {
            return Err(refusal);
        }
        let material = self.current();
        let config = match protocol {
            Protocol::Grpc => &material.grpc,
            Protocol::Http => &material.http,
        };
        let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let open = self.watch(stream.get_ref().1.peer_certificates(), &material);
        // A certificate without a name of ours is as good as no certificate.
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        let identity =
            certificate.as_ref().and_then(|certificate| Identity::of_certificate(certificate).ok());
        let peer = Peer { address, identity, certificate };
        Ok(NodeStream::accepted(TlsStream::Server(stream), peer, open))
    }

    /// Keeps an eye on a connection whose other end has shown these certificates, which were trusted by `material`.
    pub(super) fn watch(
        &self,
        chain: Option<&[CertificateDer<'static>]>,
        material: &Arc<Material>,
    ) -> Option<OpenConnection> {
        let open = self.open.add(chain?);
        // The lists may have been replaced since.
        let current = self.current();
        if !Arc::ptr_eq(&current, material) {
            self.open.end_revoked(current.verifier.as_ref());
        }
        Some(open)
    }

    pub(super) fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who the holder of a chain's first certificate is. The chain has been verified by the handshake.
pub(super) fn identity_of(chain: Option<&[CertificateDer<'_>]>) -> Result<Identity, IdentityError> {
    let certificate = chain.and_then(<[_]>::first).ok_or(IdentityError::Count(0))?;
    Identity::of_certificate(certificate)
}

/// What a certificate says of itself, whether or not it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Who the certificate is for.
    pub identity: Identity,
    /// Names and addresses at which it may be shown.
    pub hosts: Vec<String>,
    /// Seconds since 1970, from when on it is no longer valid.
    pub not_after: i64,
    /// The number that its authority gave it.
    pub serial: Vec<u8>,
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read, or its certificate does not say who holds it.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let pem = std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
        let chain = certificates(path, &pem)?;
        let wrong = || TlsError::Pem { path: path.to_owned(), wanted: "X.509 certificate" };
        let parsed = X509Certificate::from_der(&chain[0]).map_err(|_| wrong())?.1;
        let identity = Identity::of_parsed(&parsed)
            .map_err(|source| TlsError::Identity { path: path.to_owned(), source })?;
        let names = parsed.subject_alternative_name().map_err(|_| wrong())?;
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        let hosts = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            },
            _ => None,
        });
        let (not_after, serial) = (parsed.validity().not_after.timestamp(), parsed.raw_serial().to_vec());
        Ok(Self { identity, hosts: hosts.collect(), not_after, serial })
    }
}

/// Whether the first certificate of a PEM file was signed by the first of another: of two authorities of one name only one has
/// the key.
///
/// # Errors
/// When a file cannot be read, or holds no certificate.
pub fn issued_by(certificate: &Path, authority: &Path) -> Result<bool, TlsError> {
    let first = |path: &Path| -> Result<CertificateDer<'static>, TlsError> {
        let pem = std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
        Ok(certificates(path, &pem)?.swap_remove(0))
    };
    let (certificate_der, authority_der) = (first(certificate)?, first(authority)?);
    let wrong = |path: &Path| TlsError::Pem { path: path.to_owned(), wanted: "X.509 certificate" };
    let parsed = X509Certificate::from_der(&certificate_der).map_err(|_| wrong(certificate))?.1;
    let issuer = X509Certificate::from_der(&authority_der).map_err(|_| wrong(authority))?.1;
    let key_of = |certificate: &X509Certificate<'_>, of_issuer: bool| {
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(key) if of_issuer => {
                key.key_identifier.as_ref().map(|key| key.0.to_vec())
            }
            ParsedExtension::SubjectKeyIdentifier(key) if !of_issuer => Some(key.0.to_vec()),
            _ => None,
        })
    };
    // Where either does not name its key, the names alone have to do.
    let are_keys_one = match (key_of(&parsed, true), key_of(&issuer, false)) {
        (Some(named), Some(own)) => named == own,
        _ => true,
    };
    Ok(parsed.issuer().as_raw() == issuer.subject().as_raw() && are_keys_one)
}
