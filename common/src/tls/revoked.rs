//! Lists of revoked certificates (CRLs, RFC 5280), and connections that end when a certificate is on one.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use rustls::{
    CertificateError,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject as _},
    server::danger::ClientCertVerifier,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

/// What one list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedFacts {
    /// Grows with each list of an authority.
    pub number: u64,
    /// Seconds since 1970, when the next list should be there.
    pub due: Option<i64>,
    /// Certificates by the numbers that their authority gave them, and since when they are revoked, in seconds since 1970.
    pub serials: Vec<(Vec<u8>, i64)>,
}

impl RevokedFacts {
    /// The lists of a PEM file, at least one.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
        match lists {
            Ok(lists) if !lists.is_empty() => Ok(lists),
            _ => Err("it holds no list in PEM (X509 CRL)".to_owned()),
        }
    }

    /// What a list says.
    ///
    /// # Errors
    /// When it is no list.
    pub fn of(list: &CertificateRevocationListDer<'_>) -> Result<Self, String> {
        let list = CertificateRevocationList::from_der(list.as_ref());
        let (_, list) =
            list.map_err(|_| "it holds something else than lists of revoked certificates".to_owned())?;
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let revoked = list.iter_revoked_certificates();
        let serials = revoked.map(|one| (one.raw_serial().to_vec(), one.revocation_date.timestamp()));
        Ok(Self { number, due: list.next_update().map(|due| due.timestamp()), serials: serials.collect() })
    }
}

/// Open connections whose other ends have certificates. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenConnections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Watched>,
}

/// The certificates that were shown, the other end's own first, and how to end the connection.
#[derive(Debug)]
struct Watched {
    chain: Vec<CertificateDer<'static>>,
    end: CancellationToken,
}

/// One of the connections, for as long as it is open.
#[derive(Debug)]
pub(super) struct OpenConnection {
    number: u64,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    all: OpenConnections,
}

impl OpenConnections {
    /// Takes up a connection whose other end has shown these certificates.
    pub(super) fn add(&self, chain: &[CertificateDer<'static>]) -> OpenConnection {
        let end = CancellationToken::new();
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, Watched { chain: chain.to_vec(), end: end.clone() });
        OpenConnection { number, ended: Box::pin(end.cancelled_owned()), all: self.clone() }
    }

    /// Ends the connections whose certificates are revoked by the verifier's lists; how many these are. What else the verifier
    /// finds, such as a time that is over, is no reason to end one.
    pub(super) fn end_revoked(&self, verifier: &dyn ClientCertVerifier) -> usize {
        let is_revoked = |chain: &[CertificateDer<'static>]| {
            let Some((own, between)) = chain.split_first() else { return false };
            let verified = verifier.verify_client_cert(own, between, UnixTime::now());
            matches!(verified, Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)))
        };
        let open = self.lock();
        let revoked =
            open.connections.values().filter(|one| !one.end.is_cancelled() && is_revoked(&one.chain));
        revoked.map(|one| one.end.cancel()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnection {
    /// Fails once the other end's certificate is revoked.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.ended.as_mut().poll(cx).map(|()| {
            io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the certificate at the other end has been revoked",
            )
        })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.all.lock().connections.remove(&self.number);
    }
}
