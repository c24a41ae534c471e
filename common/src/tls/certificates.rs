//! The certificates of a node: files, what they are checked for, and the TLS settings made of them.

use std::{
    fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _,
    },
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::{
    identity::{Identity, IdentityError},
    stream::{NodeStream, Peer},
};
use crate::net::Connection;

/// How long a caller may take to say hello and prove who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The files of a node's certificates, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that the cluster trusts.
    pub ca: PathBuf,
    /// The node's own certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// The private key of the node's certificate.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The files of the holder called `name` in a folder as `shoal certs create` makes it.
    #[must_use]
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        }
    }
}

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
    #[error("the certificate '{certificate}' cannot be used with the key '{key}': {source}")]
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
    /// Others would not trust the certificate.
    #[error(
        "the certificate '{certificate}' opens no door: by the authorities of '{ca}' it is refused ({reason}); \
         `shoal certs create --renew` makes new ones"
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
         `shoal certs create --hosts`, or name another address in node.advertise"
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

/// What a server is spoken to in, under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC: HTTP/2 alone; callers are asked for a certificate and may have none.
    Grpc,
    /// HTTP/1.1 and HTTP/2; callers are not asked, since browsers would ask people.
    Http,
}

/// Everything made of one reading of the files.
struct Material {
    /// The files' contents, to notice a change.
    read: FileContents,
    identity: Identity,
    /// Seconds since 1970, from when on the certificate is no longer valid.
    not_after: i64,
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// The contents of the three files, as read.
#[derive(PartialEq, Eq)]
struct FileContents {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A node's certificates, read again when their files change. Clones share them.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsFiles>,
    /// By which host others call the holder, where it is a node.
    host: Option<Arc<str>>,
    current: Arc<RwLock<Arc<Material>>>,
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
        Ok(Self { files: Arc::new(files), host: None, current: Arc::new(RwLock::new(Arc::new(material))) })
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
        Ok(Self { files: Arc::new(files), host: Some(host.into()), current })
    }

    /// Reads the files again. New connections are made with what they hold; open ones stay. False when nothing has
    /// changed.
    ///
    /// # Errors
    /// As [`Tls::load_as`]: the certificates of before stay in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = FileContents::read(&self.files)?;
        let before = self.current();
        if contents == before.read {
            return Ok(false);
        }
        let material = Material::new(&self.files, contents, self.host.as_deref())?;
        if material.identity != before.identity {
            let (found, expected) = (material.identity, before.identity.clone());
            let path = self.files.certificate.clone();
            return Err(TlsError::Holder { path, found: found.into(), expected: expected.into() });
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
        Ok(true)
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
        let material = self.current();
        let config = match protocol {
            Protocol::Grpc => &material.grpc,
            Protocol::Http => &material.http,
        };
        let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let stream = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        // A certificate without a name of ours is as good as no certificate.
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        let identity =
            certificate.as_ref().and_then(|certificate| Identity::of_certificate(certificate).ok());
        let peer = Peer { address, identity, certificate };
        Ok(NodeStream::accepted(TlsStream::Server(stream), peer))
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current().client)
    }

    fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who the holder of a chain's first certificate is. The chain has been verified by the handshake.
pub(super) fn identity_of(chain: Option<&[CertificateDer<'_>]>) -> Result<Identity, IdentityError> {
    let certificate = chain.and_then(<[_]>::first).ok_or(IdentityError::Count(0))?;
    Identity::of_certificate(certificate)
}

impl FileContents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
        };
        Ok(Self { ca: read(&files.ca)?, certificate: read(&files.certificate)?, key: read(&files.key)? })
    }
}

impl Material {
    fn new(files: &TlsFiles, read: FileContents, host: Option<&str>) -> Result<Self, TlsError> {
        let authorities = certificates(&files.ca, &read.ca)?;
        let chain = certificates(&files.certificate, &read.certificate)?;
        let pem = |path: &Path, wanted| TlsError::Pem { path: path.to_owned(), wanted };
        let key = PrivateKeyDer::from_pem_slice(&read.key).map_err(|_| pem(&files.key, "private key"))?;
        let own =
            X509Certificate::from_der(&chain[0]).map_err(|_| pem(&files.certificate, "X.509 certificate"))?.1;
        let identity = Identity::of_parsed(&own)
            .map_err(|source| TlsError::Identity { path: files.certificate.clone(), source })?;
        let not_after = own.validity().not_after.timestamp();

        let authority = |reason: String| TlsError::Authority { path: files.ca.clone(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in authorities {
            roots.add(certificate).map_err(|error| authority(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| authority(error.to_string()))?;
        check_chain(files, &chain, verifier.as_ref())?;
        if let Some(host) = host {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| authority(error.to_string()))?;
            check_host(files, &chain, verifier.as_ref(), host)?;
        }
        let unusable = |source| TlsError::Unusable {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        };
        let server = || -> Result<_, rustls::Error> {
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()
        };
        let mut grpc = server()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        grpc.alpn_protocols = vec![b"h2".to_vec()];
        // A session that is resumed is not verified again, and nodes connect rarely.
        grpc.session_storage = Arc::new(NoServerSessionStorage {});
        grpc.send_tls13_tickets = 0;
        let mut http = server()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = client_config(provider, roots, chain, key).map_err(unusable)?;
        Ok(Self {
            read,
            identity,
            not_after,
            grpc: Arc::new(grpc),
            http: Arc::new(http),
            client: Arc::new(client),
        })
    }
}

/// Refuses a certificate that others will refuse: a node is told at its start, not by calls that fail later.
fn check_chain(
    files: &TlsFiles,
    chain: &[CertificateDer<'static>],
    verifier: &dyn ClientCertVerifier,
) -> Result<(), TlsError> {
    let verified = verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now());
    verified.map(drop).map_err(|error| TlsError::Untrusted {
        certificate: files.certificate.clone(),
        ca: files.ca.clone(),
        reason: error.to_string(),
    })
}

fn check_host(
    files: &TlsFiles,
    chain: &[CertificateDer<'static>],
    verifier: &dyn ServerCertVerifier,
    host: &str,
) -> Result<(), TlsError> {
    let refused = |reason: String| TlsError::Host {
        certificate: files.certificate.clone(),
        host: host.to_owned(),
        reason,
    };
    let name = server_name(host).map_err(|error| refused(error.to_string()))?;
    let verified = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now());
    verified.map(drop).map_err(|error| refused(error.to_string()))
}

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

/// What a certificate says of itself, whether or not it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Who the certificate is for.
    pub identity: Identity,
    /// Names and addresses at which it may be shown.
    pub hosts: Vec<String>,
    /// Seconds since 1970, from when on it is no longer valid.
    pub not_after: i64,
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
        Ok(Self { identity, hosts: hosts.collect(), not_after: parsed.validity().not_after.timestamp() })
    }
}

fn client_config(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = || TlsError::Pem { path: path.to_owned(), wanted: "certificate" };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| refused())?;
    if found.is_empty() { Err(refused()) } else { Ok(found) }
}
