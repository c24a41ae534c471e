//! `ARCHITECTURE.md` against the tree.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{files, none, read, root};

const LINES_MAX: usize = 300;

/// A name between backticks on the map, and the folder of the crate whose section it stands in.
struct Named {
    line: usize,
    krate: Option<String>,
    name: String,
}

impl Named {
    /// Where the name may be meant to point, from the root.
    fn places(&self) -> Vec<PathBuf> {
        let name = self.name.trim_end_matches('/');
        let mut places = vec![PathBuf::from(name)];
        if let Some(krate) = &self.krate {
            let krate = Path::new(krate);
            places.extend([krate.join("src").join(name), krate.join("src").join(format!("{name}.rs"))]);
            places.push(krate.join(name));
        }
        places
    }

    /// Whether the name is one of a file or folder of the tree.
    fn is_path(&self) -> bool {
        let endings = [".rs", ".md", ".proto", ".py", ".toml", ".sh"];
        let file = endings.iter().any(|ending| self.name.ends_with(ending));
        let folder = self.name.contains('/') && !self.name.starts_with('/');
        (file || folder) && !self.name.contains(['<', ' ', ':', '(', '='])
    }

    fn exists(&self) -> bool {
        // Of a pattern the folder has to be there.
        let name = |place: PathBuf| {
            let pattern = place.to_string_lossy().contains('*');
            if pattern { place.parent().unwrap().to_owned() } else { place }
        };
        self.places().into_iter().any(|place| root().join(name(place)).exists())
    }
}

/// `a/{b,c}` as `a/b` and `a/c`.
fn spelled_out(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let Some((inner, after)) = rest.split_once('}') else { return vec![name.to_owned()] };
    inner.split(',').flat_map(|one| spelled_out(&format!("{before}{}{after}", one.trim()))).collect()
}

fn named(map: &str) -> Vec<Named> {
    let (mut found, mut krate, mut drawing) = (Vec::new(), None, false);
    for (line, text) in map.lines().enumerate() {
        if text.starts_with("```") {
            drawing = !drawing;
        }
        if let Some(heading) = text.strip_prefix('#') {
            let quoted =
                heading.split('`').nth(1).filter(|_| heading.trim_start_matches('#').starts_with(" `"));
            krate = quoted.map(|name| name.trim_end_matches('/').to_owned());
        }
        if drawing {
            continue;
        }
        for quoted in text.split('`').skip(1).step_by(2) {
            for name in spelled_out(quoted) {
                found.push(Named { line: line + 1, krate: krate.clone(), name });
            }
        }
    }
    found
}

#[test]
fn every_folder_is_on_the_map() {
    // The map names a folder where it names something inside, too.
    let named = named(&read("ARCHITECTURE.md"));
    let places = named.iter().filter(|named| named.exists()).flat_map(Named::places);
    let places: BTreeSet<PathBuf> =
        places.flat_map(|place| place.ancestors().map(Path::to_owned).collect::<Vec<_>>()).collect();
    let folders: BTreeSet<PathBuf> =
        files(&[".rs", ".proto"]).iter().map(|file| file.parent().unwrap().to_owned()).collect();
    // A folder of tests or fuzz targets belongs to what it tries; a crate's `src` is the crate.
    let rooms = folders.iter().filter(|folder| {
        let belongs =
            folder.components().any(|part| ["tests", "fuzz"].iter().any(|room| part.as_os_str() == *room));
        !belongs && !folder.ends_with("src")
    });
    let missing: Vec<String> =
        rooms.filter(|room| !places.contains(*room)).map(|room| room.display().to_string()).collect();
    none(
        &missing,
        "folders that ARCHITECTURE.md does not name, as `whole/path/` or from their crate's src in its section",
    );
    let crates = files(&["Cargo.toml"]);
    let crates =
        crates.iter().map(|file| file.parent().unwrap()).filter(|folder| !folder.as_os_str().is_empty());
    let missing: Vec<String> = crates
        .filter(|folder| !places.contains(*folder))
        .map(|folder| folder.display().to_string())
        .collect();
    none(&missing, "crates that ARCHITECTURE.md does not name");
}

#[test]
fn every_path_on_the_map_exists() {
    let map = read("ARCHITECTURE.md");
    let named = named(&map);
    let gone: Vec<String> = named
        .iter()
        .filter(|named| named.is_path() && !named.exists())
        .map(|named| format!("line {}: {}", named.line, named.name))
        .collect();
    none(&gone, "paths on the map that are not there");
    assert!(named.iter().filter(|named| named.is_path()).count() > 40, "the map was read");
    assert!(map.lines().count() <= LINES_MAX, "the map has more than {LINES_MAX} lines");
}

#[test]
fn the_crates_front_pages_name_what_is_in_them() {
    let mut missing = Vec::new();
    // The library of the benchmarks is what its programs share.
    let pages = files(&["lib.rs"]);
    for file in pages.iter().filter(|file| file.ends_with("src/lib.rs") && !file.starts_with("benches")) {
        let text = read(file);
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(!head.is_empty(), "{} says nothing of its crate", file.display());
        for module in text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
            // The map names them; the front page may.
            let krate = file.parent().unwrap().parent().unwrap();
            let on_the_map = named(&read("ARCHITECTURE.md")).iter().any(|named| {
                let places = named.places();
                let own = krate.join("src").join(module);
                places.contains(&own) || places.contains(&own.with_extension("rs"))
            });
            if !on_the_map && !head.contains(&format!("`{module}`")) {
                missing.push(format!("{}: {module}", file.display()));
            }
        }
    }
    none(&missing, "public modules that neither the map nor their crate's front page names");
}

/// Guides name files from the root.
#[test]
fn every_path_in_the_guides_exists() {
    let mut gone = Vec::new();
    for guide in ["docs/glossary.md", "docs/extending.md", "CONTRIBUTING.md"] {
        let paths =
            named(&read(guide)).into_iter().filter(|named| named.is_path() && named.name.contains('/'));
        gone.extend(
            paths
                .filter(|named| !root().join(&named.name).exists())
                .map(|named| format!("{guide}, line {}: {}", named.line, named.name)),
        );
    }
    none(&gone, "paths in guides that are not there");
}
