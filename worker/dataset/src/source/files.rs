//! Which files a source has: those of a known layout, a file that is named, or the parts that make up one.
//!
//! A file of a layout may be packed (`ratings.csv.gz`), and may be a folder of parts (`ratings.csv/part-00000-….csv`), as
//! Spark writes it. The order of parts is by name, and that of several addresses as they were given. Names that begin with
//! `_` or `.` are markers and hidden files, and are passed over; so are parts without a byte.

use std::collections::{BTreeMap, HashSet};

use glob::Pattern;
use shoal_common::store::join;
use shoal_proto::v1::FileContent;

use super::{
    SourceError, SourceFolder,
    address::{Asked, Wanted},
};

/// Names under which a file of each content is looked for, in order of preference.
const NAMES: [(FileContent, &[&str]); 5] = [
    (FileContent::Ratings, &["ratings.csv", "rating.csv", "ratings.dat", "u.data", "ratings.parquet"]),
    (FileContent::Items, &["movies.csv", "movie.csv", "movies.dat", "u.item", "movies.parquet"]),
    (FileContent::Tags, &["tags.csv", "tag.csv", "tags.dat", "tags.parquet"]),
    (
        FileContent::GenomeScores,
        &["genome-scores.csv", "genome_scores.csv", "genome-scores.parquet", "genome_scores.parquet"],
    ),
    (
        FileContent::GenomeTags,
        &["genome-tags.csv", "genome_tags.csv", "genome-tags.parquet", "genome_tags.parquet"],
    ),
];

/// Endings that packers add.
const PACKED: [&str; 3] = [".gz", ".zst", ".zstd"];

/// Endings of files that can be parts of one without being called so.
const PART_ENDINGS: [&str; 4] = ["csv", "tsv", "parquet", "dat"];

/// Parts that a source may have: their number stands in front of a row's position.
const PARTS_MAX: usize = 10_000;

/// Names in a message.
const NAMES_SHOWN: usize = 12;

/// A file of the source, or the parts of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) content: FileContent,
    /// Paths from the source's folder on, and lengths in bytes, which are not 0.
    pub(super) parts: Vec<(String, u64)>,
    /// Paths of parts without a byte, which are passed over.
    pub(super) empty: Vec<String>,
}

/// The files of a source.
#[derive(Debug)]
pub(super) struct SourceFiles {
    /// Those that are asked for; the first of them are the ratings.
    pub(super) asked: Vec<Found>,
    /// Those of a known layout beside a file that was named by itself.
    pub(super) beside: Vec<Found>,
}

/// Finds the files that are asked for, and what lies beside them.
///
/// # Errors
/// When there are no ratings, or the source cannot be listed.
pub(super) async fn find(folder: &SourceFolder, asked: &[Asked]) -> Result<SourceFiles, SourceError> {
    if let [Asked { folder: inside, wanted: Wanted::All }] = asked {
        return Ok(SourceFiles { asked: in_folder(folder, inside).await?, beside: Vec::new() });
    }
    let mut parts = Vec::new();
    for asked in asked {
        parts.extend(parts_of(folder, asked).await?);
    }
    let ratings = not_empty(folder, FileContent::Ratings, parts)?;
    let mut beside = Vec::new();
    if let [Asked { folder: inside, wanted: Wanted::Name(_) }] = asked {
        let here = Listing::read(folder, inside).await?;
        for (content, names) in &NAMES[1..] {
            beside.extend(here.named(folder, *content, names).await?);
        }
    }
    Ok(SourceFiles { asked: vec![ratings], beside })
}

/// The name without what a packer added to it, and without folders.
pub(super) fn layout_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    PACKED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// What stands behind the last point of a file's name, packers aside.
pub(super) fn extension(path: &str) -> &str {
    layout_name(path).rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// What lies in a folder of the source.
struct Listing {
    folder: String,
    files: BTreeMap<String, u64>,
    folders: Vec<String>,
}

impl Listing {
    async fn read(folder: &SourceFolder, inside: &str) -> Result<Self, SourceError> {
        let listed = folder.store.list_entries(inside).await;
        let (files, folders) = listed.map_err(|error| folder.error(inside, error))?;
        let own = |path: String| path.rsplit('/').next().map(str::to_owned).unwrap_or_default();
        Ok(Self {
            folder: inside.to_owned(),
            files: files.into_iter().map(|(path, length)| (own(path), length)).collect(),
            folders: folders.into_iter().map(own).collect(),
        })
    }

    fn path(&self, name: &str) -> String {
        join(&self.folder, name)
    }

    /// Files that are neither hidden nor markers, by name.
    fn visible(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().filter(|(name, _)| !is_hidden(name)).map(|(name, length)| (name.as_str(), *length))
    }

    /// The first of some names that there is: plain, packed, or as a folder of parts.
    async fn named(
        &self,
        folder: &SourceFolder,
        content: FileContent,
        names: &[&str],
    ) -> Result<Option<Found>, SourceError> {
        for name in names {
            let spellings = std::iter::once("").chain(PACKED).map(|ending| format!("{name}{ending}"));
            let mut parts = Vec::new();
            for spelling in spellings {
                if let Some(&length) = self.files.get(&spelling) {
                    parts = vec![(self.path(&spelling), length)];
                } else if self.folders.contains(&spelling) {
                    parts = Self::read_parts(folder, &self.path(&spelling)).await?;
                }
                if !parts.is_empty() {
                    return not_empty(folder, content, parts).map(Some);
                }
            }
        }
        Ok(None)
    }

    async fn read_parts(folder: &SourceFolder, inside: &str) -> Result<Vec<(String, u64)>, SourceError> {
        let here = Box::pin(Self::read(folder, inside)).await?;
        Ok(here.visible().map(|(name, length)| (here.path(name), length)).collect())
    }

    /// The files, if they are parts of one: all that are to be seen end in the same way.
    fn parts(&self) -> Option<Vec<(String, u64)>> {
        let (first, _) = self.visible().next()?;
        let ending = extension(first);
        let all_alike =
            PART_ENDINGS.contains(&ending) && self.visible().all(|(name, _)| extension(name) == ending);
        all_alike.then(|| self.visible().map(|(name, length)| (self.path(name), length)).collect())
    }

    /// What is here, for a message.
    fn described(&self) -> String {
        let folders = self.folders.iter().map(|name| format!("{name}/"));
        let all: Vec<String> = self.files.keys().cloned().chain(folders).collect();
        shown(&all)
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

/// Some names, and how many more there are.
fn shown(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        _ if names.len() <= NAMES_SHOWN => names.join(", "),
        _ => format!("{} and {} more", names[..NAMES_SHOWN].join(", "), names.len() - NAMES_SHOWN),
    }
}

/// The files of a folder in a known layout, or else its files as parts of one.
async fn in_folder(folder: &SourceFolder, inside: &str) -> Result<Vec<Found>, SourceError> {
    let here = Listing::read(folder, inside).await?;
    let mut found = Vec::new();
    for (content, names) in NAMES {
        found.extend(here.named(folder, content, names).await?);
    }
    if found.first().is_some_and(|first| first.content == FileContent::Ratings) {
        return Ok(found);
    }
    match here.parts() {
        // Beside a catalogue the files are none of the ratings.
        Some(parts) if found.is_empty() => {
            not_empty(folder, FileContent::Ratings, parts).map(|ratings| vec![ratings])
        }
        _ => Err(SourceError::NoRatings {
            uri: join(&folder.uri, inside),
            looked_for: NAMES[0].1.join(", "),
            found: here.described(),
        }),
    }
}

/// The files of one of several addresses.
async fn parts_of(folder: &SourceFolder, asked: &Asked) -> Result<Vec<(String, u64)>, SourceError> {
    let nothing = |wanted: &str, found: String| SourceError::NoRatings {
        uri: join(&folder.uri, &asked.folder),
        looked_for: wanted.to_owned(),
        found,
    };
    match &asked.wanted {
        Wanted::All => {
            let found = in_folder(folder, &asked.folder).await?;
            let Some(Found { parts, empty, .. }) = found.into_iter().next() else { return Ok(Vec::new()) };
            Ok(parts.into_iter().chain(empty.into_iter().map(|name| (name, 0))).collect())
        }
        Wanted::Name(name) => {
            let here = Listing::read(folder, &asked.folder).await?;
            if let Some(&length) = here.files.get(name) {
                return Ok(vec![(here.path(name), length)]);
            }
            if here.folders.contains(name) {
                return Listing::read_parts(folder, &here.path(name)).await;
            }
            Err(nothing(name, here.described()))
        }
        Wanted::Pattern(pattern) => {
            let matched = matching(folder, &asked.folder, pattern).await?;
            if matched.is_empty() {
                let here = Listing::read(folder, &asked.folder).await?;
                return Err(nothing(pattern, here.described()));
            }
            Ok(matched)
        }
    }
}

/// The files whose paths below a folder match a pattern, by path. A folder that matches stands for its parts.
async fn matching(
    folder: &SourceFolder,
    inside: &str,
    pattern: &str,
) -> Result<Vec<(String, u64)>, SourceError> {
    let bad = |reason: &str| SourceError::Pattern { pattern: pattern.to_owned(), reason: reason.to_owned() };
    let mut levels = Vec::new();
    for level in pattern.split('/') {
        if level.contains("**") {
            return Err(bad("'**' is not read; write a '*' for each folder"));
        }
        levels.push(Pattern::new(level).map_err(|error| bad(error.msg))?);
    }
    let is_match = |level: &Pattern, name: &str| {
        // Hidden files and markers are matched only by a pattern that begins as they do.
        level.matches(name) && (!is_hidden(name) || level.as_str().starts_with(['_', '.']))
    };
    let mut folders = vec![inside.to_owned()];
    let mut files = Vec::new();
    for (at, level) in levels.iter().enumerate() {
        let is_last = at + 1 == levels.len();
        let mut deeper = Vec::new();
        for inside in folders {
            let here = Listing::read(folder, &inside).await?;
            deeper
                .extend(here.folders.iter().filter(|name| is_match(level, name)).map(|name| here.path(name)));
            if is_last {
                let matched = here.files.iter().filter(|(name, _)| is_match(level, name));
                files.extend(matched.map(|(name, length)| (here.path(name), *length)));
            }
        }
        folders = deeper;
    }
    for inside in folders {
        files.extend(Listing::read_parts(folder, &inside).await?);
    }
    files.sort();
    Ok(files)
}

/// The parts that hold anything, each once, and those that do not.
fn not_empty(
    folder: &SourceFolder,
    content: FileContent,
    parts: Vec<(String, u64)>,
) -> Result<Found, SourceError> {
    if parts.len() > PARTS_MAX {
        return Err(SourceError::TooManyFiles {
            uri: folder.uri.clone(),
            count: parts.len(),
            most: PARTS_MAX,
        });
    }
    let first = parts.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let (mut held, mut seen, mut empty) = (Vec::new(), HashSet::new(), Vec::new());
    for (name, length) in parts {
        // Addresses may overlap.
        if !seen.insert(name.clone()) {
            continue;
        }
        if length == 0 {
            empty.push(name);
        } else {
            held.push((name, length));
        }
    }
    if held.is_empty() {
        return Err(SourceError::Empty(join(&folder.uri, &first)));
    }
    Ok(Found { content, parts: held, empty })
}
