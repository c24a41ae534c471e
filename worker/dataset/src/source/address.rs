//! What the addresses of a source ask for: a folder, files, or all that a pattern matches.

use std::path::Path;

use shoal_proto::v1::DatasetSource;

use super::error::SourceError;

/// What is wanted of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: its files in a known layout, or its parts.
    All,
    /// One name in it: a file, or a folder of parts.
    Name(String),
    /// What matches a pattern, by paths from the folder on.
    Pattern(String),
}

/// One address: something of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// From the source's folder on; empty for that folder.
    pub(super) folder: String,
    pub(super) wanted: Wanted,
}

/// The addresses of a source, in the order in which they are read.
pub(super) fn addresses(source: &DatasetSource) -> impl Iterator<Item = &str> {
    std::iter::once(&source.uri).chain(&source.more_uris).map(String::as_str)
}

/// The folder that all addresses of a source lie in, and what is asked for there.
///
/// # Errors
/// When the addresses lie in different stores.
pub(super) fn resolve(source: &DatasetSource) -> Result<(String, Vec<Asked>), SourceError> {
    let mut split: Vec<(String, Wanted)> = addresses(source).map(split_address).collect();
    if let [(folder, wanted)] = &mut split[..] {
        let wanted = std::mem::replace(wanted, Wanted::All);
        return Ok((std::mem::take(folder), vec![Asked { folder: String::new(), wanted }]));
    }
    let folders: Vec<Vec<&str>> = split.iter().map(|(folder, _)| folder.split('/').collect()).collect();
    let first = &folders[0];
    let same =
        (0..first.len()).take_while(|&at| folders.iter().all(|other| other.get(at) == Some(&first[at])));
    let common = same.count();
    let root = first[..common].join("/");
    // "s3:", "" and the bucket; a path of this machine begins with an empty part.
    let remote = split.iter().any(|(folder, _)| folder.contains("://"));
    if common < if remote { 3 } else { 1 } {
        let uris = addresses(source).collect::<Vec<_>>().join("', '");
        return Err(SourceError::DifferentStores(uris));
    }
    let asked = split
        .iter()
        .zip(&folders)
        .map(|((_, wanted), folder)| Asked { folder: folder[common..].join("/"), wanted: wanted.clone() });
    let asked = asked.collect();
    Ok((if root.is_empty() { "/".to_owned() } else { root }, asked))
}

/// A folder, and what is wanted of it.
fn split_address(uri: &str) -> (String, Wanted) {
    let trimmed = uri.trim_end_matches('/');
    if ["", "file:"].contains(&trimmed) && trimmed != uri {
        return ("/".to_owned(), Wanted::All);
    }
    let local = match trimmed.split_once("://") {
        None => Some(trimmed),
        Some(("file", path)) => Some(path),
        Some(_) => None,
    };
    let exists = |is: fn(&Path) -> bool| local.is_some_and(|path| is(Path::new(path)));
    if exists(Path::is_dir) {
        return (trimmed.to_owned(), Wanted::All);
    }
    let is_file = exists(Path::is_file);
    // A file may be called like a pattern.
    if !is_file && let Some((folder, pattern)) = split_pattern(trimmed) {
        return (folder, Wanted::Pattern(pattern));
    }
    // Object stores have no folders: a name with an extension is a file's, or a folder of parts that is called like one.
    let is_named = is_file
        || (local.is_none()
            && uri == trimmed
            && trimmed.rsplit('/').next().is_some_and(|name| name.contains('.')));
    match trimmed.rsplit_once('/') {
        Some((folder, name)) if is_named => {
            (if folder.is_empty() { "/" } else { folder }.to_owned(), Wanted::Name(name.to_owned()))
        }
        None if is_named => (".".to_owned(), Wanted::Name(trimmed.to_owned())),
        _ => (trimmed.to_owned(), Wanted::All),
    }
}

/// The folders before the first part that is a pattern, and the rest.
fn split_pattern(uri: &str) -> Option<(String, String)> {
    let first = uri.find(['*', '?', '['])?;
    Some(match uri[..first].rfind('/') {
        Some(slash) => (if slash == 0 { "/" } else { &uri[..slash] }.to_owned(), uri[slash + 1..].to_owned()),
        None => (".".to_owned(), uri.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uris: &[&str]) -> DatasetSource {
        DatasetSource {
            uri: uris[0].to_owned(),
            more_uris: uris[1..].iter().map(|uri| (*uri).to_owned()).collect(),
            ..DatasetSource::default()
        }
    }

    fn asked(folder: &str, wanted: Wanted) -> Asked {
        Asked { folder: folder.to_owned(), wanted }
    }

    #[test]
    fn addresses_are_folders_names_and_patterns() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap().to_owned();
        std::fs::create_dir_all(folder.path().join("a/ratings.csv")).unwrap();
        std::fs::write(folder.path().join("a/b[1].csv"), "x").unwrap();
        std::fs::write(folder.path().join("c.csv"), "x").unwrap();
        for (uris, expected_root, expected) in [
            (vec![format!("{root}/a/")], format!("{root}/a"), vec![asked("", Wanted::All)]),
            (vec![format!("{root}/c.csv")], root.clone(), vec![asked("", Wanted::Name("c.csv".into()))]),
            (
                vec![format!("{root}/a/b[1].csv")],
                format!("{root}/a"),
                vec![asked("", Wanted::Name("b[1].csv".into()))],
            ),
            (
                vec![format!("{root}/a/*.csv")],
                format!("{root}/a"),
                vec![asked("", Wanted::Pattern("*.csv".into()))],
            ),
            (
                vec![format!("{root}/a/ratings.csv"), format!("{root}/c.csv"), format!("{root}/x*/p?.csv")],
                root.clone(),
                vec![
                    asked("a/ratings.csv", Wanted::All),
                    asked("", Wanted::Name("c.csv".into())),
                    asked("", Wanted::Pattern("x*/p?.csv".into())),
                ],
            ),
            (vec!["/".into()], "/".into(), vec![asked("", Wanted::All)]),
            (vec!["file:///".into()], "/".into(), vec![asked("", Wanted::All)]),
            (
                vec!["s3://b/x/r.csv".into(), "s3://b/y/".into()],
                "s3://b".into(),
                vec![asked("x", Wanted::Name("r.csv".into())), asked("y", Wanted::All)],
            ),
        ] {
            let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
            assert_eq!(resolve(&source(&uris)).unwrap(), (expected_root, expected), "{uris:?}");
        }
        let error = resolve(&source(&["s3://a/x.csv", "s3://b/x.csv"])).unwrap_err().to_string();
        assert!(error.contains("s3://a/x.csv") && error.contains("one store"), "{error}");
    }
}
