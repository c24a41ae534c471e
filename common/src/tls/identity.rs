//! The name in a certificate: `spiffe://<cluster id>/<role>/<name>`, as SPIFFE ids are written
//! (<https://spiffe.io/docs/latest/spiffe-about/spiffe-concepts/>).

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

const SCHEME: &str = "spiffe://";

/// The longest part of an identity.
const PART_BYTES_MAX: usize = 64;

/// What the holder of a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerRole {
    /// A member of the metadata group; its name is its raft number.
    Coordinator,
    /// A worker, by the name in its configuration.
    Worker,
    /// A router, by the name in its configuration.
    Router,
    /// A person or program that administers the cluster.
    Admin,
}

impl PeerRole {
    /// Every role that a certificate may be for.
    pub const ALL: [Self; 4] = [Self::Coordinator, Self::Worker, Self::Router, Self::Admin];

    /// The role as certificates and messages write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Router => "router",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who the holder of a certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    cluster_id: String,
    role: PeerRole,
    name: String,
}

/// A certificate does not say who its holder is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate cannot be parsed.
    #[error("it is not an X.509 certificate")]
    Certificate,
    /// It has no SPIFFE id, or more than one.
    #[error(
        "its subject alternative names hold {0} names of the form spiffe://<cluster id>/<role>/<name>; one is needed"
    )]
    Count(usize),
    /// The name has another form.
    #[error(
        "the name '{0}' is not of the form spiffe://<cluster id>/<role>/<name>, with the role coordinator, worker, \
         router or admin, and parts of at most 64 letters, digits, '.', '_' and '-'"
    )]
    Form(String),
}

impl Identity {
    /// The identity of this role and name.
    ///
    /// # Errors
    /// When a part is empty, too long, or holds a character that cannot stand in it.
    pub fn new(cluster_id: &str, role: PeerRole, name: &str) -> Result<Self, IdentityError> {
        let identity = Self { cluster_id: cluster_id.to_owned(), role, name: name.to_owned() };
        if is_part(cluster_id) && is_part(name) {
            Ok(identity)
        } else {
            Err(IdentityError::Form(identity.uri()))
        }
    }

    /// Reads `spiffe://<cluster id>/<role>/<name>`.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn parse(uri: &str) -> Result<Self, IdentityError> {
        // What a stranger wrote is repeated in part only.
        let refused = || IdentityError::Form(uri.chars().take(2 * PART_BYTES_MAX).collect());
        let mut parts = uri.strip_prefix(SCHEME).ok_or_else(refused)?.split('/');
        let (Some(cluster_id), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused());
        };
        let role = PeerRole::ALL.into_iter().find(|known| known.name() == role).ok_or_else(refused)?;
        Self::new(cluster_id, role, name).map_err(|_| refused())
    }

    /// Reads the one SPIFFE id of a certificate.
    ///
    /// # Errors
    /// When the certificate cannot be parsed or does not hold exactly one.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::Certificate)?;
        Self::of_parsed(&certificate)
    }

    pub(super) fn of_parsed(certificate: &X509Certificate<'_>) -> Result<Self, IdentityError> {
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Certificate)?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris.as_slice() {
            [only] => Self::parse(only),
            several => Err(IdentityError::Count(several.len())),
        }
    }

    /// The identity as a certificate holds it.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}", self.cluster_id, self.role, self.name)
    }

    /// The cluster that the holder belongs to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// What the holder is.
    #[must_use]
    pub fn role(&self) -> PeerRole {
        self.role
    }

    /// The holder's name among those of its role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' of cluster '{}'", self.role, self.name, self.cluster_id)
    }
}

fn is_part(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= PART_BYTES_MAX
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        for role in PeerRole::ALL {
            let identity = Identity::new("local-3f", role, "name.of_one-2").unwrap();
            assert_eq!(Identity::parse(&identity.uri()).unwrap(), identity);
        }
    }

    #[test]
    fn another_form_is_refused() {
        let long = format!("spiffe://c/worker/{}", "n".repeat(65));
        for wrong in [
            "",
            "https://c/worker/w",
            "spiffe://c/worker",
            "spiffe://c/worker/w/x",
            "spiffe://c/worker/",
            "spiffe:///worker/w",
            "spiffe://c/Worker/w",
            "spiffe://c/boss/w",
            "spiffe://c/worker/..",
            "spiffe://c/worker/a b",
            "spiffe://c/worker/a%2fb",
            "spiffe://ç/worker/w",
            &long,
        ] {
            assert!(Identity::parse(wrong).is_err(), "{wrong}");
        }
    }
}
