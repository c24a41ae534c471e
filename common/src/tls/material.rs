//! What one reading of a node's files makes: settings of TLS, and what the files are checked for before.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{
    error::{TlsError, explained},
    files::{TlsFiles, certificates},
    identity::Identity,
    names::server_name,
    revoked::RevokedFacts,
};

/// Everything made of one reading of the files.
pub(super) struct Material {
    /// The files' contents, to notice a change.
    pub(super) read: FileContents,
    pub(super) identity: Identity,
    /// Seconds since 1970, from when on the certificate is no longer valid.
    pub(super) not_after: i64,
    pub(super) grpc: Arc<ServerConfig>,
    pub(super) http: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    /// Says of a certificate whether it is trusted, and by the lists not revoked.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Seconds since 1970, when the first of the lists should have been replaced.
    pub(super) lists_due: Option<i64>,
}

/// The contents of the files, as read.
#[derive(PartialEq, Eq)]
pub(super) struct FileContents {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    pub(super) revoked: Option<Vec<u8>>,
}

impl FileContents {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
        };
        let revoked = match &files.revoked {
            None => None,
            Some(file) => file.read()?,
        };
        let (ca, certificate, key) = (read(&files.ca)?, read(&files.certificate)?, read(&files.key)?);
        Ok(Self { ca, certificate, key, revoked })
    }
}

impl Material {
    pub(super) fn new(files: &TlsFiles, read: FileContents, host: Option<&str>) -> Result<Self, TlsError> {
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
        let (lists, lists_due) = match &files.revoked {
            Some(file) => revocation_lists(&file.path, read.revoked.as_deref())?,
            None => (Vec::new(), None),
        };
        // A list is its authority's: of what other authorities have signed it says nothing, and each need not have one.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .with_crls(lists.clone())
            .allow_unknown_revocation_status()
            .allow_unauthenticated()
            .build()
            .map_err(|error| authority(error.to_string()))?;
        check_chain(files, &chain, verifier.as_ref())?;
        let of_servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .with_crls(lists)
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| authority(error.to_string()))?;
        if let Some(host) = host {
            check_host(files, &chain, of_servers.as_ref(), host)?;
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
            .with_client_cert_verifier(Arc::clone(&verifier))
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
        let client = client_config(provider, of_servers, chain, key).map_err(unusable)?;
        Ok(Self {
            read,
            identity,
            not_after,
            grpc: Arc::new(grpc),
            http: Arc::new(http),
            client: Arc::new(client),
            verifier,
            lists_due,
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
        reason: explained(&error),
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
    verified.map(drop).map_err(|error| refused(explained(&error)))
}

fn client_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// The lists of a PEM file, and when the first of them is due.
pub(super) fn revocation_lists(
    path: &Path,
    pem: Option<&[u8]>,
) -> Result<(Vec<CertificateRevocationListDer<'static>>, Option<i64>), TlsError> {
    let Some(pem) = pem else { return Ok((Vec::new(), None)) };
    let refused = |reason: String| TlsError::Revoked { path: path.to_owned(), reason };
    let lists = RevokedFacts::lists(pem).map_err(refused)?;
    let facts = lists.iter().map(|list| RevokedFacts::of(list)).collect::<Result<Vec<_>, _>>();
    let due = facts.map_err(refused)?.iter().filter_map(|facts| facts.due).min();
    Ok((lists, due))
}
