//! The list of revoked certificates, signed by the authority: nodes refuse whoever shows one that is on it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use shoal_common::tls::{
    CertificateFacts, Identity, REVOKED_FILE, RevokedFacts, TlsError, TlsFiles, issued_by,
};
use time::{Duration, OffsetDateTime};

use super::{AUTHORITY, AUTHORITY_DAYS, CLOCK_SKEW, CertsError, existing_authority, public};

/// Which certificate to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// That of a holder in the folder, by the name of its files.
    Holder(String),
    /// That in a file elsewhere.
    File(PathBuf),
    /// One of which only the number is left.
    Serial(Vec<u8>),
}

/// A certificate that is revoked.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// The list.
    pub list: PathBuf,
    /// Whose certificate, where it is at hand.
    pub identity: Option<Identity>,
    /// Its number.
    pub serial: Vec<u8>,
    /// Whether the list had it before.
    pub before: bool,
    /// Certificates on the list.
    pub count: usize,
}

/// Puts a certificate on the folder's list. What is on it stays there: a new certificate has a new number.
///
/// # Errors
/// When the authority or its key is not there, the certificate is another authority's, or the list cannot be read or
/// written.
pub fn revoke(folder: &Path, target: &Target) -> Result<Revoked, CertsError> {
    let issuer = existing_authority(folder)?;
    let authority = TlsFiles::in_folder(folder, AUTHORITY).ca;
    let file = match target {
        Target::Holder(name) => Some(TlsFiles::in_folder(folder, name).certificate),
        Target::File(path) => Some(path.clone()),
        Target::Serial(_) => None,
    };
    let facts = file.as_deref().map(CertificateFacts::read).transpose()?;
    if let Some(certificate) = file
        && !issued_by(&certificate, &authority)?
    {
        return Err(CertsError::Foreign { certificate, folder: folder.to_owned() });
    }
    let serial = match (target, &facts) {
        (Target::Serial(serial), _) => serial.clone(),
        (_, facts) => facts.as_ref().map(|facts| facts.serial.clone()).unwrap_or_default(),
    };

    let list = folder.join(REVOKED_FILE);
    let mut lists = read(folder)?;
    let known = lists.pop().unwrap_or(RevokedFacts { number: 0, due: None, serials: Vec::new() });
    if !lists.is_empty() {
        return Err(CertsError::Lists(list));
    }
    let now = OffsetDateTime::now_utc();
    let mut serials = known.serials;
    let before = serials.iter().any(|(known, _)| *known == serial);
    if !before {
        serials.push((serial.clone(), now.unix_timestamp()));
        let revoked = serials.iter().map(|(serial, since)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: OffsetDateTime::from_unix_timestamp(*since).unwrap_or(now),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now - CLOCK_SKEW,
            next_update: now + Duration::days(i64::from(AUTHORITY_DAYS)),
            crl_number: SerialNumber::from(known.number + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let broken = |reason| CertsError::Authority { folder: folder.to_owned(), reason };
        let signed = params.signed_by(&issuer).and_then(|signed| signed.pem()).map_err(broken)?;
        public(&list, &signed)?;
    }
    let identity = facts.map(|facts| facts.identity);
    Ok(Revoked { list, identity, serial, before, count: serials.len() })
}

/// The numbers of the certificates that a folder's lists revoke.
pub(super) fn serials(folder: &Path) -> Result<BTreeSet<Vec<u8>>, CertsError> {
    let lists = read(folder)?;
    Ok(lists.into_iter().flat_map(|list| list.serials).map(|(serial, _)| serial).collect())
}

/// The lists of a folder, if it has any.
fn read(folder: &Path) -> Result<Vec<RevokedFacts>, CertsError> {
    let path = folder.join(REVOKED_FILE);
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(CertsError::File { action: "read", path, source }),
    };
    let refused = |reason| CertsError::Tls(TlsError::Revoked { path: path.clone(), reason });
    let lists = RevokedFacts::lists(&pem).map_err(refused)?;
    lists.iter().map(|list| RevokedFacts::of(list).map_err(refused)).collect()
}

#[cfg(test)]
mod tests {
    use shoal_common::tls::Tls;

    use super::{
        super::{Holder, Order, create, list},
        *,
    };

    fn order() -> Order {
        let hosts = vec!["127.0.0.1".to_owned()];
        let holders = Holder::of_cluster(1, 2, 1);
        Order { cluster_id: "c".to_owned(), hosts, holders, days: 30, renew: false }
    }

    fn is_trusted(folder: &Path, name: &str) -> bool {
        Tls::load(TlsFiles::in_folder(folder, name)).is_ok()
    }

    #[test]
    fn what_is_revoked_is_trusted_by_nobody_until_its_holder_has_another() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), &order()).unwrap();
        let holder = |name: &str| Target::Holder(name.to_owned());
        let first = revoke(folder.path(), &holder("worker-1")).unwrap();
        assert_eq!((first.before, first.count), (false, 1));
        assert_eq!(first.identity.unwrap().uri(), "spiffe://c/worker/worker-1");
        let again = revoke(folder.path(), &Target::Serial(first.serial)).unwrap();
        assert_eq!((again.before, again.count), (true, 1));
        let second = revoke(folder.path(), &holder("admin")).unwrap();
        assert_eq!(second.count, 2);
        let trusted =
            ["worker-1", "admin", "worker-2", "router-1"].map(|name| is_trusted(folder.path(), name));
        assert_eq!(trusted, [false, false, true, true]);
        let refusal = Tls::load(TlsFiles::in_folder(folder.path(), "admin")).unwrap_err().to_string();
        assert!(refusal.contains("Revoked"), "{refusal}");
        let revoked = list(folder.path()).unwrap().into_iter().filter(|one| one.revoked);
        let revoked: Vec<String> = revoked.map(|one| one.facts.identity.name().to_owned()).collect();
        assert_eq!(revoked, ["admin", "worker-1"]);

        let made = create(folder.path(), &order()).unwrap();
        let new: Vec<&str> =
            made.iter().filter(|one| !one.kept).map(|one| one.facts.identity.name()).collect();
        assert_eq!(new, ["worker-1", "admin"]);
        assert!(is_trusted(folder.path(), "worker-1") && is_trusted(folder.path(), "admin"));
    }

    #[test]
    fn what_an_authority_did_not_make_it_does_not_revoke() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        create(folder.path(), &order()).unwrap();
        create(other.path(), &order()).unwrap();
        let theirs = Target::File(other.path().join("worker-1.pem"));
        assert!(matches!(revoke(folder.path(), &theirs), Err(CertsError::Foreign { .. })));
        assert!(revoke(folder.path(), &Target::Holder("nobody".to_owned())).is_err());
        std::fs::write(folder.path().join(REVOKED_FILE), "no list").unwrap();
        let refusal = revoke(folder.path(), &Target::Holder("worker-1".to_owned())).unwrap_err().to_string();
        assert!(refusal.contains(REVOKED_FILE), "{refusal}");
        std::fs::remove_file(folder.path().join(REVOKED_FILE)).unwrap();
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        let refusal = revoke(folder.path(), &Target::Holder("worker-1".to_owned())).unwrap_err().to_string();
        assert!(refusal.contains("ca.key"), "{refusal}");
    }
}
