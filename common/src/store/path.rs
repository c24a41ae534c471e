//! The path of an object or a folder in a store, checked before a store does anything with it.

use std::path::{Path as FilePath, PathBuf};

use object_store::path::Path;

use super::StoreError;

/// Bytes of a path: what S3 takes as a key.
const LENGTH_MAX: usize = 1_024;
/// Characters of a refused path that its error shows.
const SHOWN_MAX: usize = 80;

/// A relative path with `/` between its parts, of which none is empty, `.` or `..`. Below a folder it stays there.
///
/// Manifests, messages and people name paths. Whatever they name becomes a [`StorePath`] first: nothing else can be
/// turned into a file's path or an object's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePath(String);

impl StorePath {
    /// Checks a path. The store's own root has none: see [`StorePath::parse_folder`].
    ///
    /// # Errors
    /// [`StoreError::Path`] says what is wrong with it.
    pub fn parse(path: &str) -> Result<Self, StoreError> {
        let refused = |reason| {
            let shown: String = path.chars().take(SHOWN_MAX).collect();
            Err(StoreError::Path { path: shown.escape_debug().to_string(), reason })
        };
        if path.len() > LENGTH_MAX {
            return refused("it is longer than 1,024 bytes");
        }
        if path.contains('\0') {
            return refused("it has a NUL character");
        }
        for part in path.split('/') {
            match part {
                "" => return refused("it begins or ends with '/', or a part of it is empty"),
                "." | ".." => return refused("it has the part '.' or '..'"),
                _ => {}
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// Checks the path of a folder; `None` is the store's root, whose path is empty.
    ///
    /// # Errors
    /// As [`StorePath::parse`].
    pub fn parse_folder(path: &str) -> Result<Option<Self>, StoreError> {
        if path.is_empty() { Ok(None) } else { Self::parse(path).map(Some) }
    }

    /// Checks a single name.
    ///
    /// # Errors
    /// [`StoreError::Path`] when it has more than one part, or as [`StorePath::parse`].
    pub fn parse_name(name: &str) -> Result<Self, StoreError> {
        let path = Self::parse(name)?;
        if name.contains('/') {
            let reason = "it is a path where one name is wanted";
            return Err(StoreError::Path { path: name.escape_debug().to_string(), reason });
        }
        Ok(path)
    }

    /// The path as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is below a folder of this machine.
    #[must_use]
    pub fn below(&self, folder: &FilePath) -> PathBuf {
        folder.join(&self.0)
    }

    /// The object's key. A name is taken as it is where the store can: people call their files what they like.
    pub(super) fn key(&self) -> Path {
        Path::parse(&self.0).unwrap_or_else(|_| Path::from(self.0.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leads_out_or_is_no_path_is_refused() {
        for path in ["/a", "a/", "a//b", "", ".", "..", "../a", "a/../b", "a/./b", "a\0b", &"a".repeat(1_025)]
        {
            let error = StorePath::parse(path).unwrap_err().to_string();
            assert!(error.len() < 400, "{error}");
        }
        for path in
            ["a", "a/b.c", "a/..b", "...", "Filme, alle/über uns.csv", "a%2Eb/c d", &"a".repeat(1_024)]
        {
            assert_eq!(StorePath::parse(path).unwrap().as_str(), path);
        }
        assert_eq!(StorePath::parse_folder("").unwrap(), None);
        assert!(StorePath::parse_name("a/b").is_err());
    }

    proptest! {
        #[test]
        fn a_path_stays_below_its_folder(path in "[a./\\\\%2eE\\PC]{0,40}") {
            if let Ok(path) = StorePath::parse(&path) {
                let below = path.below(FilePath::new("/store"));
                let parts: Vec<_> = below.components().collect();
                prop_assert!(below.starts_with("/store") && parts.len() > 2);
                let is_plain = |part: &std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
                prop_assert!(parts[1..].iter().all(is_plain), "{below:?}");
                prop_assert_eq!(path.key().as_ref().split('/').count(), path.as_str().split('/').count());
            }
        }
    }
}
