//! A cluster's own authority, and the certificates it gives to nodes and administrators, for those without a PKI.
//!
//! ```text
//! <folder>/ca.pem, ca.key            the authority; its key is needed to make certificates, by no node
//! <folder>/<name>.pem, <name>.key    one node's, or an administrator's
//! <folder>/revoked.pem               the list of certificates that nobody may trust any more
//! ```
//!
//! Keys are readable by their owner alone. A file is replaced as a whole, so that a node that reads it again never
//! sees a half.

mod revoke;

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use shoal_common::{
    private_files,
    tls::{CertificateFacts, Identity, IdentityError, PeerRole, REVOKED_FILE, TlsError, TlsFiles},
};
use time::{Duration, OffsetDateTime};

/// How long an authority is valid.
const AUTHORITY_DAYS: u32 = 3_650;

/// Machines whose clocks are behind by this much accept a new certificate all the same.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// The files of the authority.
const AUTHORITY: &str = "ca";

/// The administrator's certificate that a folder has, and the name of its files.
pub const ADMIN: &str = "admin";

pub use self::revoke::{Revoked, Target, revoke};

/// Which certificates to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// The cluster that the holders belong to.
    pub cluster_id: String,
    /// Names and IP addresses by which nodes are called.
    pub hosts: Vec<String>,
    /// Everybody who gets a certificate.
    pub holders: Vec<Holder>,
    /// How long certificates are valid.
    pub days: u32,
    /// Whether holders that have a certificate get a new one.
    pub renew: bool,
}

/// Somebody who gets a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name of its files, without the ending.
    pub file: String,
    /// The role that the certificate says.
    pub role: PeerRole,
    /// Its name in the certificate.
    pub name: String,
}

impl Holder {
    /// The coordinators, workers and routers of a cluster that names its nodes as a local cluster does, and an administrator.
    #[must_use]
    pub fn of_cluster(coordinators: usize, workers: usize, routers: usize) -> Vec<Self> {
        let counts =
            [(PeerRole::Coordinator, coordinators), (PeerRole::Worker, workers), (PeerRole::Router, routers)];
        let nodes =
            counts.into_iter().flat_map(|(role, count)| (1..=count).map(move |n| Self::node(role, n)));
        let admin = Self { file: ADMIN.to_owned(), role: PeerRole::Admin, name: ADMIN.to_owned() };
        nodes.chain([admin]).collect()
    }

    fn node(role: PeerRole, number: usize) -> Self {
        let file = format!("{role}-{number}");
        // A coordinator is called by its number in the group.
        let name = if role == PeerRole::Coordinator { number.to_string() } else { file.clone() };
        Self { file, role, name }
    }
}

/// A certificate that a folder has.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The file of the certificate.
    pub path: PathBuf,
    /// Whose it is, where it may be shown and until when.
    pub facts: CertificateFacts,
    /// Whether it was there before.
    pub kept: bool,
    /// Whether the folder's list revokes it.
    pub revoked: bool,
}

/// Certificates cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file or folder cannot be used.
    #[error("cannot {action} '{path}': {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder has an authority's certificate and not its key.
    #[error(
        "'{0}' is not there, and certificates of the authority beside it cannot be made without it; run this where \
         the key is kept, or name an empty folder"
    )]
    NoKey(PathBuf),
    /// The authority's files cannot be read as such.
    #[error("the authority in '{folder}' cannot be used: {reason}")]
    Authority {
        /// The folder of the authority.
        folder: PathBuf,
        /// What the library said.
        reason: rcgen::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make the certificate of '{holder}': {reason}")]
    Make {
        /// The holder that the certificate was to be for.
        holder: String,
        /// What the library said.
        reason: rcgen::Error,
    },
    /// A certificate that is there cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A name cannot stand in a certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A certificate that is there is of another holder.
    #[error("'{path}' belongs to {found}, not to {wanted}; --renew replaces it, another --out leaves it")]
    Other {
        /// The file that is there.
        path: PathBuf,
        /// The holder that the certificate names.
        found: Box<Identity>,
        /// The holder that it should name.
        wanted: Box<Identity>,
    },
    /// The list of revoked certificates is not this authority's alone.
    #[error("'{0}' holds lists of other authorities too; add to it with the means of their PKI")]
    Lists(PathBuf),
    /// A certificate that is to be revoked is of another authority.
    #[error("'{certificate}' was not made by the authority in '{folder}', which alone can revoke it")]
    Foreign {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The folder of the authority that was asked.
        folder: PathBuf,
    },
    /// A host's name cannot stand in a certificate.
    #[error("'{0}' is neither a host name nor an IP address")]
    Host(String),
}

/// Makes the certificates that a folder lacks, and the authority with the first of them.
///
/// # Errors
/// When a file cannot be written, the authority's key is missing, or a name cannot stand in a certificate.
pub fn create(folder: &Path, order: &Order) -> Result<Vec<Certificate>, CertsError> {
    let names = host_names(&order.hosts)?;
    let holders = order.holders.iter().map(|holder| {
        Identity::new(&order.cluster_id, holder.role, &holder.name).map(|identity| (holder, identity))
    });
    let holders: Vec<_> = holders.collect::<Result<_, _>>()?;
    std::fs::create_dir_all(folder).map_err(|source| CertsError::File {
        action: "create",
        path: folder.to_owned(),
        source,
    })?;
    // The authority's key may be kept elsewhere where nothing has to be made.
    let mut wanting = BTreeSet::new();
    for (holder, _) in &holders {
        // Whoever has a certificate that nobody trusts any more gets a new one.
        let is_there = TlsFiles::in_folder(folder, &holder.file).certificate.exists();
        if order.renew || !is_there || existing(folder, &holder.file)?.revoked {
            wanting.insert(holder.file.clone());
        }
    }
    let issuer = if wanting.is_empty() { None } else { Some(authority(folder, &order.cluster_id)?) };
    let make = |(holder, identity): (&Holder, Identity)| {
        let issuer = issuer.as_ref().filter(|_| wanting.contains(&holder.file));
        one(folder, order, issuer, &names, holder, identity)
    };
    holders.into_iter().map(make).collect()
}

/// The certificates of a folder, in the order of their files' names.
///
/// # Errors
/// When the folder or a certificate in it cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Certificate>, CertsError> {
    let unreadable = |source| CertsError::File { action: "read", path: folder.to_owned(), source };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let is_of_holder = stem != AUTHORITY && !path.ends_with(REVOKED_FILE);
        if path.extension().is_some_and(|ending| ending == "pem") && is_of_holder {
            names.insert(stem);
        }
    }
    names.iter().map(|name| existing(folder, name)).collect()
}

fn existing(folder: &Path, name: &str) -> Result<Certificate, CertsError> {
    let path = TlsFiles::in_folder(folder, name).certificate;
    let facts = CertificateFacts::read(&path)?;
    let revoked = revoke::serials(folder)?.contains(&facts.serial);
    Ok(Certificate { path, facts, kept: true, revoked })
}

fn one(
    folder: &Path,
    order: &Order,
    issuer: Option<&Issuer<'static, KeyPair>>,
    names: &[SanType],
    holder: &Holder,
    identity: Identity,
) -> Result<Certificate, CertsError> {
    let files = TlsFiles::in_folder(folder, &holder.file);
    let Some(issuer) = issuer else {
        let certificate = existing(folder, &holder.file)?;
        if certificate.facts.identity != identity {
            let (path, found) = (certificate.path, certificate.facts.identity);
            return Err(CertsError::Other { path, found: found.into(), wanted: identity.into() });
        }
        return Ok(certificate);
    };
    let failed = |reason| CertsError::Make { holder: identity.to_string(), reason };
    let mut params = params(&identity.to_string(), order.days);
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names.push(SanType::URI(identity.uri().try_into().map_err(failed)?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if holder.role != PeerRole::Admin {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.extend_from_slice(names);
    }
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, issuer).map_err(failed)?;
    private(&files.key, &key.serialize_pem())?;
    public(&files.certificate, &certificate.pem())?;
    let facts = CertificateFacts::read(&files.certificate)?;
    Ok(Certificate { path: files.certificate, facts, kept: false, revoked: false })
}

/// The folder's authority, made when there is none.
fn authority(folder: &Path, cluster_id: &str) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let files = TlsFiles::in_folder(folder, AUTHORITY);
    let broken = |reason| CertsError::Authority { folder: folder.to_owned(), reason };
    if files.ca.exists() {
        return existing_authority(folder);
    }
    let mut params = params(&format!("Shoal cluster '{cluster_id}'"), AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(broken)?;
    let certificate = params.self_signed(&key).map_err(broken)?;
    private(&files.key, &key.serialize_pem())?;
    public(&files.ca, &certificate.pem())?;
    Ok(Issuer::new(params, key))
}

/// The authority that a folder has.
fn existing_authority(folder: &Path) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let files = TlsFiles::in_folder(folder, AUTHORITY);
    let broken = |reason| CertsError::Authority { folder: folder.to_owned(), reason };
    let certificate = text(&files.ca)?;
    if !files.key.exists() {
        return Err(CertsError::NoKey(files.key));
    }
    let key = KeyPair::from_pem(&text(&files.key)?).map_err(broken)?;
    Issuer::from_ca_cert_pem(&certificate, key).map_err(broken)
}

fn params(common_name: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + Duration::days(i64::from(days));
    params
}

fn host_names(hosts: &[String]) -> Result<Vec<SanType>, CertsError> {
    let name = |host: &String| match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) if is_host_name(host) => match host.clone().try_into() {
            Ok(name) => Ok(SanType::DnsName(name)),
            Err(_) => Err(CertsError::Host(host.clone())),
        },
        Err(_) => Err(CertsError::Host(host.clone())),
    };
    hosts.iter().map(name).collect()
}

/// Letters, digits and hyphens between dots; the first part may be `*`.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    host.len() <= 253 && host.strip_prefix("*.").unwrap_or(host).split('.').all(is_label)
}

fn text(path: &Path) -> Result<String, CertsError> {
    std::fs::read_to_string(path).map_err(|source| CertsError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

fn private(path: &Path, pem: &str) -> Result<(), CertsError> {
    private_files::replace(path, pem.as_bytes()).map_err(|source| CertsError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

fn public(path: &Path, pem: &str) -> Result<(), CertsError> {
    private_files::replace_public(path, pem.as_bytes()).map_err(|source| CertsError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use shoal_common::tls::Tls;

    use super::*;

    fn order(renew: bool) -> Order {
        let hosts = ["localhost", "127.0.0.1", "::1", "*.shoal.example"].map(str::to_owned).to_vec();
        let holders = Holder::of_cluster(3, 2, 1);
        Order { cluster_id: "c".to_owned(), hosts, holders, days: 30, renew }
    }

    fn modes(folder: &Path) -> Vec<(String, u32)> {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mode = |entry: &std::fs::DirEntry| entry.metadata().unwrap().permissions().mode() & 0o777;
        entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), mode(&entry))).collect()
    }

    #[test]
    fn a_cluster_gets_its_certificates_once_and_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path(), &order(false)).unwrap();
        let identities: Vec<String> = made.iter().map(|made| made.facts.identity.uri()).collect();
        let expected = [
            "spiffe://c/coordinator/1",
            "spiffe://c/coordinator/2",
            "spiffe://c/coordinator/3",
            "spiffe://c/worker/worker-1",
            "spiffe://c/worker/worker-2",
            "spiffe://c/router/router-1",
            "spiffe://c/admin/admin",
        ];
        assert_eq!(identities, expected);
        for (name, mode) in modes(folder.path()) {
            assert!(!name.ends_with(".key") || mode == 0o600, "{name} has the mode {mode:o}");
        }
        let authority = std::fs::read(folder.path().join("ca.pem")).unwrap();
        let worker = std::fs::read(folder.path().join("worker-1.pem")).unwrap();

        let more = Order { holders: Holder::of_cluster(3, 3, 1), ..order(false) };
        let again = create(folder.path(), &more).unwrap();
        let new: Vec<_> = again.iter().filter(|one| !one.kept).map(|one| one.facts.identity.name()).collect();
        assert_eq!(new, ["worker-3"]);
        assert_eq!(std::fs::read(folder.path().join("worker-1.pem")).unwrap(), worker);
        assert_eq!(list(folder.path()).unwrap().len(), 8);

        assert!(create(folder.path(), &order(true)).unwrap().iter().all(|one| !one.kept));
        assert_eq!(std::fs::read(folder.path().join("ca.pem")).unwrap(), authority);
        assert_ne!(std::fs::read(folder.path().join("worker-1.pem")).unwrap(), worker);
    }

    #[test]
    fn another_clusters_certificates_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), &order(false)).unwrap();
        let other = Order { cluster_id: "d".to_owned(), ..order(false) };
        let refusal = create(folder.path(), &other).unwrap_err().to_string();
        assert!(refusal.contains("'c'") && refusal.contains("--renew"), "{refusal}");
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(create(folder.path(), &order(false)).unwrap().iter().all(|one| one.kept));
        let refusal = create(folder.path(), &order(true)).unwrap_err().to_string();
        assert!(refusal.contains("ca.key"), "{refusal}");
    }

    /// A key that is nobody's.
    const P521: &str = "\
-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIA2GpCyNm7Vi0r5pK6
nNjxXOPLggz84hi0PFKDOwAc8z/qpcC3B9Jw/AwibzNO0ES1E10ElYlNJRRxCj0W
oncKiIihgYkDgYYABAElawFEet33tlPIJm0znQgUNzFRpOohbI7D3dFkOvCjZRBj
h/Psp6I7ip4/BRdVFmE9eaP5HnoQx5rwz4lC9/gvrgEQFjy90dnYblnxRC9hPKRr
TXECGrqZBfTKvA9c1TvsXmedA9yBEuTJhjywPEckyU/hoSg03LCCaeN1pbyyQI0d
2Q==
-----END PRIVATE KEY-----
";

    #[test]
    fn a_key_of_a_kind_that_does_not_work_is_refused_with_those_that_do() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), &order(false)).unwrap();
        let files = TlsFiles::in_folder(folder.path(), "worker-1");
        std::fs::write(&files.key, P521).unwrap();
        let refusal = Tls::load(files).unwrap_err().to_string();
        for part in ["worker-1.key", "P-256 or P-384", "Ed25519", "RSA"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_certificate_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = [
            Order { hosts: vec!["a b".to_owned()], ..order(false) },
            Order { hosts: vec![String::new()], ..order(false) },
            Order { cluster_id: "a/b".to_owned(), ..order(false) },
        ];
        for order in wrong {
            assert!(create(folder.path(), &order).is_err(), "{order:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
