//! Why something cannot be done with a store.

use std::{io, path::PathBuf, time::Duration};

/// What can go wrong between Shoal and its store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store's address cannot be used.
    #[error("cannot use the store '{uri}': {reason}")]
    Address {
        /// The address as it was configured.
        uri: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// What names an object or a folder is no path below the store.
    #[error(
        "'{path}' is no path in a store: {reason}; give a relative path of plain names, such as datasets/ml-20m"
    )]
    Path {
        /// The beginning of what was given, escaped.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address is named by others, and lies where this node may not go.
    #[error("'{uri}' {}", outside(key, *none))]
    Outside {
        /// The beginning of the address, escaped.
        uri: String,
        /// The setting that lists where the node may go.
        key: &'static str,
        /// Whether it lists nothing at all.
        none: bool,
    },
    /// Options that no store has, or values that cannot be.
    #[error("the store's options cannot be used: {}", .problems.join("; "))]
    Options {
        /// A sentence for each.
        problems: Vec<String>,
    },
    /// A secret stands where others can read it.
    #[error(
        "'{name}' is a secret, and other users of this machine see command lines: write it to a file that only you can read \
         and give {name}_file=FILE, or set the variable {variable}"
    )]
    Secret {
        /// The option, as it was given.
        name: String,
        /// The variable that gives it too.
        variable: String,
    },
    /// There is no store.
    #[error("there is no bucket for '{uri}': make it, or name another store")]
    Missing {
        /// The store's address.
        uri: String,
    },
    /// The store is used without the right to write to it.
    #[error("the store is only read here, and '{path}' was to be written")]
    ReadOnly {
        /// Path of the object below the store's root.
        path: String,
    },
    /// The store gives back something else than was written to it.
    #[error(
        "the store gave back something else than was written to '{path}' just before; check that nobody else writes there"
    )]
    Forgetful {
        /// Path of the object below the store's root.
        path: String,
    },
    /// An option's value cannot be read from its file.
    #[error("cannot read '{path}', which the option '{name}' names: {reason}")]
    Option {
        /// The option, with `_file` at its end.
        name: String,
        /// The file that it names.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A profile of `~/.aws` cannot be used.
    #[error("the profile '{name}' of S3's programs cannot be used: {reason}")]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such object.
    #[error("the store has no object '{0}'")]
    NotFound(String),
    /// The object is not what its manifest says.
    #[error("object '{path}' is damaged: {reason}; restore it from a copy or write it anew")]
    Damaged {
        /// Path of the object below the store's root.
        path: String,
        /// How the object differs from what the manifest says.
        reason: String,
    },
    /// The store did not answer.
    #[error("the store did not {action} '{path}' within {seconds} s; check that it can be reached")]
    Slow {
        /// "read", "write", …
        action: &'static str,
        /// Path of the object below the store's root.
        path: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The store refused or failed.
    #[error("cannot {action} '{path}'")]
    Access {
        /// What was tried: "read", "write" and the like.
        action: &'static str,
        /// Path of the object below the store's root.
        path: String,
        /// The store's own error.
        source: object_store::Error,
    },
    /// The file system refused or failed (a full disk, a missing right).
    #[error("cannot {action} '{path}'")]
    File {
        /// What was tried: "write", "sync" and the like.
        action: &'static str,
        /// Path of the file on this machine.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether this is the answer "there is no such object".
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// Why an address is not gone to, and what to do.
fn outside(key: &str, none: bool) -> String {
    if none {
        format!(
            "is not read: this node goes to no folder until '{key}' lists those it may use, as in {key} = [\"/data\"]"
        )
    } else {
        format!("lies outside of what '{key}' lists: move the files there, or add their folder to it")
    }
}

/// A failure of a store while `path` was asked for.
pub(super) fn access(action: &'static str, path: &str, source: object_store::Error) -> StoreError {
    match source {
        object_store::Error::NotFound { .. } => StoreError::NotFound(path.to_owned()),
        source => {
            count(action);
            StoreError::Access { action, path: path.to_owned(), source }
        }
    }
}

/// A store that has not answered in time.
pub(super) fn slow(action: &'static str, path: &str, patience: Duration) -> StoreError {
    count(action);
    StoreError::Slow { action, path: path.to_owned(), seconds: patience.as_secs() }
}

/// A failure of the file system while `path` was asked for.
pub(super) fn file(action: &'static str, path: PathBuf, source: io::Error) -> StoreError {
    count(action);
    StoreError::File { action, path, source }
}

fn count(action: &'static str) {
    metrics::counter!("shoal_store_errors_total", "operation" => action).increment(1);
}
