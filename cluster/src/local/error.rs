//! What can go wrong between a command and the cluster it runs on this machine.

use std::{io, net::SocketAddr, path::PathBuf};

use shoal_common::{access::TokenFileError, config::ConfigError};

use crate::certs::CertsError;

/// A local cluster could not be planned, started or kept.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file or folder of the cluster cannot be used.
    #[error("cannot {action} '{path}'; check its rights and the space on its disk")]
    File {
        /// What was tried: "create", "write" and the like.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of the owner's token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// The token of the cluster's owner is not known to it.
    #[error(
        "the token in '{path}' could not be made good: {reason}; remove the file, and make another with `shoal tokens create --scope admin --to {path}`"
    )]
    TokenUnknown {
        /// The file of the token.
        path: PathBuf,
        /// What the coordinators said.
        reason: String,
    },
    /// The cluster's own certificates cannot be made.
    #[error(transparent)]
    Certs(#[from] CertsError),
    /// Somebody else runs a cluster from this folder.
    #[error("'{dir}' is in use by another shoal (process {pid}); stop that one or choose another --dir")]
    Locked {
        /// The folder of the cluster.
        dir: PathBuf,
        /// Who holds it, as far as known.
        pid: String,
    },
    /// The folder holds a cluster of another shape.
    #[error(
        "the cluster in '{dir}' has {found} coordinators, not {asked}; start it with --coordinators {found}, or without this flag, or choose another --dir"
    )]
    Coordinators {
        /// The folder of the cluster.
        dir: PathBuf,
        /// Coordinators that the cluster was founded with.
        found: usize,
        /// Coordinators that were asked for.
        asked: usize,
    },
    /// A number of processes that makes no cluster.
    #[error("{0}")]
    Shape(String),
    /// `cluster.json` or `addresses.json` cannot be understood.
    #[error(
        "'{path}' is damaged or of another release; `shoal up` in this folder makes it anew from the nodes' settings files, and keeps all data"
    )]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// There is data of a cluster, and nothing says of which.
    #[error(
        "'{dir}' holds data of a cluster, but neither cluster.json nor a settings file below config/ that says of which one; put one of them back, or choose another --dir"
    )]
    Forgotten {
        /// The folder of the cluster.
        dir: PathBuf,
    },
    /// `settings.toml` cannot be understood.
    #[error("'{path}' is not TOML; mend it, or take it away and give the settings again with --set")]
    SettingsFile {
        /// Path of the file.
        path: PathBuf,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// `settings.toml` has something that is no section of a node's settings.
    #[error(
        "'{path}' has '{section}', which is not a table of settings; there are [node], [coordinator], [worker] and [router]"
    )]
    SettingsSection {
        /// Path of the file.
        path: PathBuf,
        /// The name that is no section.
        section: String,
    },
    /// The address for clients is taken.
    #[error(
        "cannot listen on {address} for HTTP: {source}; stop what uses it or choose another with --http, for example --http {suggestion}"
    )]
    Http {
        /// The address that was asked for.
        address: SocketAddr,
        /// One that is worth a try.
        suggestion: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No port was free.
    #[error("found no free port from {first} to {last} on 127.0.0.1; stop some of what listens there")]
    Ports {
        /// The port where the search began.
        first: u16,
        /// The port where the search ended.
        last: u16,
    },
    /// A setting given by hand cannot be used.
    #[error(
        "the setting '{0}' is not of the form section.key=value with the section node, coordinator, worker or router, as coordinator.replicas=3"
    )]
    Setting(String),
    /// Settings given by hand that a role refuses.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// A child ended before the cluster was up.
    #[error("{name} {how} before the cluster was up; the end of its log, {log}:\n{tail}")]
    Child {
        /// Name of the child's node.
        name: String,
        /// "ended with exit code 2", …
        how: String,
        /// The log of the child.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The cluster is not up after a long time.
    #[error("the cluster is not up after {seconds} s: {missing}; the logs in '{logs}' say more")]
    NotUp {
        /// How long was waited.
        seconds: u64,
        /// What is not there yet.
        missing: String,
        /// Where the logs are.
        logs: PathBuf,
    },
}

impl LocalError {
    /// For `map_err` on a file operation.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
