//! The habits of the tree that no compiler keeps: the map names every room, crates depend in one direction, the maths
//! does no I/O, names that belong to one place stand nowhere else, and links of the documents lead somewhere.

mod arrows;
mod links;
mod logs;
mod map;
mod metrics;
mod names;
mod rules;
mod rust;

use std::path::{Path, PathBuf};

/// The root of the tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below the root with one of these endings, relative to the root, in the order of their paths. What is
/// built, hidden or measured is left out.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    fn walk(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if kind.is_dir()
                && !name.starts_with('.')
                && !["target", "golden", "node_modules"].contains(&&*name)
            {
                walk(&path, endings, found);
            } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, endings, &mut found);
    let mut found: Vec<PathBuf> =
        found.iter().map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect();
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a file is only built for tests, benchmarks or fuzzing.
fn is_test(path: &Path) -> bool {
    let rooms = ["tests", "fuzz", "benches"];
    path.components().any(|part| rooms.contains(&part.as_os_str().to_str().unwrap()))
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[track_caller]
fn none(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}
