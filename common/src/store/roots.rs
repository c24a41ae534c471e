//! Which folders and buckets a node reads from, and writes to, where others name the address.
//!
//! A source of ratings, a test file, a list of users and a folder for lists are named by whoever asks for a job. A node
//! goes only where its configuration lets it: [`Roots`] says where, and a store that is opened within roots
//! ([`Store::open_within`](super::Store::open_within)) resolves every symlink before it reads.

use std::{
    fmt,
    path::{Component, Path as FilePath, PathBuf},
    sync::Arc,
};

use super::{StoreError, StoreOptions};

/// Characters of an address that an error shows.
const SHOWN_MAX: usize = 200;

/// Folders of this machine and prefixes of remote stores that a node may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The setting that lists them, for the remedy in refusals.
    key: &'static str,
    folders: Vec<PathBuf>,
    /// As `s3://bucket/prefix`, without a slash at the end; `s3:/` for every bucket.
    remotes: Vec<String>,
}

/// A text is neither a folder's whole path nor an address of a remote store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no root: give the whole path of a folder, or an address such as s3://bucket/prefix")]
pub struct NotARoot(pub String);

impl Roots {
    /// Reads what a setting lists.
    ///
    /// # Errors
    /// [`NotARoot`] for a relative path.
    pub fn new(key: &'static str, listed: &[String]) -> Result<Self, NotARoot> {
        let (mut folders, mut remotes) = (Vec::new(), Vec::new());
        for root in listed {
            match local_path(root) {
                Some(path) if FilePath::new(path).is_absolute() => folders.push(PathBuf::from(path)),
                None => remotes.push(root.trim_end_matches('/').to_owned()),
                Some(_) => return Err(NotARoot(root.clone())),
            }
        }
        Ok(Self { key, folders, remotes })
    }

    /// Whatever the user of this process may reach: for commands, which act for their user, and for a cluster that a
    /// user runs on the own machine.
    #[must_use]
    pub fn anywhere() -> Self {
        Self { key: "", folders: vec![PathBuf::from("/")], remotes: vec!["s3:/".to_owned()] }
    }

    /// The list that stands for [`Roots::anywhere`] in a configuration.
    #[must_use]
    pub fn anywhere_listed() -> Vec<String> {
        ["/", "s3://"].map(str::to_owned).into()
    }

    /// Checks an address before anything is done with it: not even whether something is there is answered of what lies
    /// elsewhere. Symlinks are followed, and checked, when the address is read.
    ///
    /// # Errors
    /// [`StoreError::Outside`] names the setting.
    pub fn check(&self, uri: &str) -> Result<(), StoreError> {
        let allowed = match local_path(uri) {
            Some(path) => std::path::absolute(path).is_ok_and(|path| self.has_folder(&without_dots(&path))),
            None => self.has_remote(uri),
        };
        if allowed { Ok(()) } else { Err(self.outside(uri)) }
    }

    /// Checks where a path leads in truth: `resolved` is without symlinks, `named` is what the error shows.
    pub(super) fn check_resolved(&self, resolved: &FilePath, named: &str) -> Result<(), StoreError> {
        let is_below = |root: &PathBuf| resolve(root).is_some_and(|root| resolved.starts_with(root));
        if self.folders.iter().any(is_below) { Ok(()) } else { Err(self.outside(named)) }
    }

    /// Checks an object of a remote store, whose address has been checked.
    pub(super) fn check_key(&self, uri: &str) -> Result<(), StoreError> {
        if self.has_key(uri) { Ok(()) } else { Err(self.outside(uri)) }
    }

    /// Checks where a folder would be made that may not be there yet.
    pub(super) fn check_new(&self, uri: &str) -> Result<(), StoreError> {
        self.check(uri)?;
        let Some(path) = local_path(uri) else { return Ok(()) };
        match std::path::absolute(path).ok().and_then(|path| resolve(&path)) {
            Some(resolved) => self.check_resolved(&resolved, uri),
            None => Err(self.outside(uri)),
        }
    }

    fn has_folder(&self, path: &FilePath) -> bool {
        self.folders.iter().any(|root| path.starts_with(root))
    }

    fn has_remote(&self, uri: &str) -> bool {
        // An address is decoded and shortened when it is opened: what could then mean another place is refused.
        let lower = uri.to_ascii_lowercase();
        let hides = ["%2e", "%2f", "%5c"].iter().any(|hidden| lower.contains(hidden))
            || uri.contains(['\\', '#', '@', '\0', '\n', '\r', '\t'])
            || uri.split('/').any(|part| part == "." || part == "..");
        !hides && self.has_key(uri)
    }

    fn has_key(&self, uri: &str) -> bool {
        let rest = |root: &String| uri.strip_prefix(root.as_str()).map(str::to_owned);
        self.remotes.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn outside(&self, uri: &str) -> StoreError {
        let shown: String = uri.chars().take(SHOWN_MAX).collect();
        let none = self.folders.is_empty() && self.remotes.is_empty();
        StoreError::Outside { uri: shown.escape_debug().to_string(), key: self.key, none }
    }
}

/// The path of an address on this machine.
fn local_path(uri: &str) -> Option<&str> {
    match uri.split_once("://") {
        None => Some(uri),
        Some(("file", path)) => Some(path),
        Some(_) => None,
    }
}

/// The path without symlinks, as far as there is something; what is not there yet follows by its plain names.
fn resolve(path: &FilePath) -> Option<PathBuf> {
    let mut rest = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(resolved) = ancestor.canonicalize() {
            return Some(rest.into_iter().rev().fold(resolved, |path, name| path.join(name)));
        }
        // A broken link is there all the same.
        if ancestor.is_symlink() {
            return None;
        }
        // There is no name where the path ends in `..`.
        rest.push(ancestor.file_name()?);
    }
    None
}

/// The path without `.` and `..`, by its text alone.
fn without_dots(path: &FilePath) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// How a node gets at addresses that others name: where it may go, and the options of remote stores, which may be
/// secrets.
#[derive(Clone)]
pub struct Access {
    /// Options of remote stores, such as `aws_region`.
    pub options: StoreOptions,
    /// Where sources, test files and lists of users may lie.
    pub read: Arc<Roots>,
    /// Where lists may be written to.
    pub write: Arc<Roots>,
}

impl Access {
    /// What the user of this process may reach.
    #[must_use]
    pub fn anywhere(options: StoreOptions) -> Self {
        let roots = Arc::new(Roots::anywhere());
        Self { options, read: Arc::clone(&roots), write: roots }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("options", &self.options)
            .field("read", &self.read)
            .field("write", &self.write)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn roots(listed: &[&str]) -> Roots {
        let listed: Vec<String> = listed.iter().map(|&root| root.to_owned()).collect();
        Roots::new("worker.import_roots", &listed).unwrap()
    }

    #[test]
    fn only_what_lies_below_a_root_is_allowed() {
        let allowed = roots(&["/data/ratings", "s3://bucket/a/"]);
        for uri in [
            "/data/ratings",
            "/data/ratings/",
            "/data/ratings/x/*.csv",
            "file:///data/ratings/x",
            "/data/other/../ratings",
            "s3://bucket/a",
            "s3://bucket/a/b.csv",
            "s3://bucket/a/*/b?.csv",
        ] {
            allowed.check(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
        }
        for uri in [
            "/data",
            "/data/ratings2",
            "/data/ratings/../secret",
            "/etc/shadow",
            "file:///etc/shadow",
            "",
            "relative",
            "s3://bucket",
            "s3://bucket/ab",
            "s3://bucket/a/../b",
            "s3://bucket/a/%2e%2E/b",
            "s3://bucket/a/x?y#z",
            "s3://bucket/a?/b",
            "s3://bucket/a/*/../b",
            "s3://other/a",
            "http://169.254.169.254/latest",
            "S3://bucket/a",
        ] {
            let error = allowed.check(uri).expect_err(uri).to_string();
            assert!(error.contains("worker.import_roots"), "{error}");
        }
        let everything = Roots::anywhere();
        for uri in ["/etc", "/", "relative", "../x", "s3://any/where.csv"] {
            everything.check(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
        }
        let none = roots(&[]).check("/x").unwrap_err().to_string();
        assert!(none.contains("no folder until") && none.contains("worker.import_roots"), "{none}");
        assert!(Roots::new("k", &["data".to_owned()]).is_err());
        assert!(roots(&[]).check(&"x".repeat(100_000)).unwrap_err().to_string().len() < 700);
    }

    #[test]
    fn a_folder_is_made_only_below_a_root() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir_all(path("in/own")).unwrap();
        std::fs::create_dir_all(path("out")).unwrap();
        std::os::unix::fs::symlink(path("out"), path("in/link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("in/broken")).unwrap();
        let (inside, new) = (path("in"), path("new/root"));
        let roots = Arc::new(roots(&[&inside, &new]));
        let create = |name: &str| Store::create_within(&path(name), &StoreOptions::default(), &roots);
        for name in ["in/lists", "in/own/deep/lists", "in/own/../more", "new/root/lists"] {
            create(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(folder.path().join(name).is_dir());
        }
        for name in
            ["out/lists", "in/link/lists", "in/link/../lists", "in/broken/lists", "in/../lists", "new/lists"]
        {
            let error = create(name).map(|_| ()).expect_err(name);
            assert!(matches!(error, StoreError::Outside { .. }), "{name}: {error}");
        }
        let made: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|made| made.unwrap().file_name()).collect();
        assert_eq!(made.len(), 3, "{made:?}");
        assert_eq!(std::fs::read_dir(path("out")).unwrap().count(), 0);
    }
}
