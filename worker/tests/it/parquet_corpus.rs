//! Parquet as pyarrow and polars write it: `.ci/parquet_corpus.py` makes the files, and what pyarrow reads of each.

use std::path::{Path, PathBuf};

use crate::support::reading::{read, source};

/// The folder that the script filled; `None` where there is none, as without Python.
fn corpus() -> Option<PathBuf> {
    std::env::var_os("SHOAL_PARQUET_CORPUS").map(PathBuf::from)
}

/// User, item, rating, time.
type Expected = (String, String, f64, i64);

fn expected(path: &Path) -> Vec<Expected> {
    serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap()
}

#[test]
fn what_other_libraries_write_is_read_as_they_read_it() {
    let Some(folder) = corpus() else { return };
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        let found = read(&source(&path), 700).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let found: Vec<Expected> = found
            .rows
            .into_iter()
            .map(|row| (row.user, row.item, f64::from(row.rating), row.timestamp))
            .collect();
        assert_eq!(found, expected(&path), "{}", path.display());
        files += 1;
    }
    assert!(files > 50, "{} has {files} files only", folder.display());
}
