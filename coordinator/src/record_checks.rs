//! What the record of a data set or of a version must be like before it is believed: those that trainings publish are like
//! this, and one that was registered from outside has to be.
//!
//! Routers and workers allocate by these records and answer with their numbers, so whatever they count on is checked here.

use std::collections::BTreeSet;

use prost::Message;
use shoal_common::{
    ids::{IdKind, SHARDS_MAX},
    store::{PartKind, dataset_path, model_path, part},
};
use shoal_core::ModelKind;
use shoal_proto::v1::{DatasetInfo, HybridModel, ModelVersion, ObjectEntry, ShardStats, Side};

/// Characters of the name of a data set, and of its version.
pub(crate) const DATASET_NAME_MAX: usize = 64;

/// Characters of a version's name.
const VERSION_NAME_MAX: usize = 128;

/// Bytes of a record: every router and worker is told of it.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Rows of a side and ratings of a data set: rows are counted by u32, and sums must not run over.
const ROWS_MAX: u64 = u32::MAX as u64;
const RATINGS_MAX: u64 = 1 << 48;

/// The most parts of a manifest that are named as wrong.
const NAMED_MAX: usize = 3;

/// Everything that is wrong with the record of a data set.
#[must_use]
pub fn dataset_problems(dataset: &DatasetInfo) -> Vec<String> {
    let mut problems = Vec::new();
    let DatasetInfo { name, version, path, .. } = dataset;
    check_name("the data set's name", name, DATASET_NAME_MAX, &mut problems);
    check_name("the data set's version", version, DATASET_NAME_MAX, &mut problems);
    if *path != dataset_path(name, version) {
        problems.push("the data set's path must be datasets/<name>/<version>".to_owned());
    }
    check_checksum("data set", &dataset.manifest_checksum, &mut problems);
    check_size("data set", dataset, &mut problems);
    problems.extend(serving_problems(dataset));
    for (side, rows, shards) in
        [("users", dataset.users, &dataset.user_shards), ("items", dataset.items, &dataset.item_shards)]
    {
        check_counts(side, rows, dataset.ratings, shards, &mut problems);
    }
    problems
}

/// What is wrong with the record of a data set for those who serve its versions.
#[must_use]
pub fn serving_problems(dataset: &DatasetInfo) -> Vec<String> {
    let mut problems = Vec::new();
    let shard_count = dataset.shard_count;
    if !(1..=SHARDS_MAX).contains(&shard_count) {
        problems.push(format!("the data set has {shard_count} shards; it must have 1 to {SHARDS_MAX}"));
    }
    for (side, shards) in [("users", &dataset.user_shards), ("items", &dataset.item_shards)] {
        if !shards.iter().map(|shard| shard.shard).eq(0..shard_count) {
            problems.push(format!(
                "the data set has statistics of {} shards of {side}; every one of its {shard_count} must be there once, in order",
                shards.len()
            ));
        }
    }
    for (side, kind) in [("users", dataset.user_id_kind()), ("items", dataset.item_id_kind())] {
        if IdKind::from_proto(kind).is_none() {
            problems.push(format!("the data set does not say what the ids of its {side} are"));
        }
    }
    let DatasetInfo { rating_min, rating_max, rating_mean, .. } = *dataset;
    if ![rating_min, rating_max, rating_mean].into_iter().all(is_finite) || rating_min > rating_max {
        problems.push(format!("the scale of ratings, from {rating_min} to {rating_max}, is not one"));
    }
    problems
}

/// Everything that is wrong with the record of a version.
#[must_use]
pub fn version_problems(version: &ModelVersion) -> Vec<String> {
    let mut problems = Vec::new();
    let ModelVersion { name, model, path, .. } = version;
    check_name("the version's name", name, VERSION_NAME_MAX, &mut problems);
    if kind_of(version).is_none() {
        let known: Vec<&str> = ModelKind::ALL.into_iter().map(ModelKind::folder).collect();
        let shown: String = model.chars().take(VERSION_NAME_MAX).collect();
        problems.push(format!("the model '{}' is none of {}", shown.escape_debug(), known.join(", ")));
    }
    if *path != model_path(model, name) {
        problems.push("the version's path must be models/<model>/<name>".to_owned());
    }
    check_checksum("version", &version.manifest_checksum, &mut problems);
    check_size("version", version, &mut problems);
    if ![version.rating_mean, version.rating_slope].into_iter().all(is_finite) {
        problems.push("the version's mean or slope of ratings is not a finite number".to_owned());
    }
    match (&version.hybrid, kind_of(version) == Some(ModelKind::Hybrid)) {
        (Some(hybrid), true) => check_blend(hybrid, &mut problems),
        (None, true) => problems.push("the hybrid does not say what it blends".to_owned()),
        (Some(_), false) => problems.push("only a hybrid blends other versions".to_owned()),
        (None, false) => {}
    }
    problems
}

/// What of a version's parts does not fit the shards of its data set: parts of shards that there are not, and shards that
/// some parts are missing of.
#[must_use]
pub fn part_problems(objects: &[ObjectEntry], shard_count: u32) -> Vec<String> {
    let paths: BTreeSet<&str> = objects.iter().map(|object| object.path.as_str()).collect();
    let mut problems = Vec::new();
    let mut folders = BTreeSet::new();
    let parts = paths.iter().filter_map(|path| {
        let (folder, file) = path.rsplit_once('/')?;
        let (number, ending) = file.strip_prefix("part-")?.split_once('.')?;
        Some((*path, folder, ending, number.parse::<u32>().ok()?))
    });
    for (path, folder, ending, shard) in parts {
        if shard >= shard_count {
            problems.push(format!("'{path}' is of a shard that its data set does not have"));
        }
        folders.insert((folder, ending));
    }
    for (folder, ending) in folders {
        let missing = (0..shard_count).map(|shard| format!("{folder}/part-{shard:05}.{ending}"));
        let missing = missing.filter(|path| !paths.contains(path.as_str())).take(NAMED_MAX);
        problems.extend(missing.map(|path| format!("'{path}' is missing")));
    }
    problems.truncate(NAMED_MAX);
    problems
}

/// The first parts that a version of this kind cannot be served without and that are not among the objects.
#[must_use]
pub fn missing_parts(kind: ModelKind, objects: &[ObjectEntry], shard_count: u32) -> Vec<String> {
    let needed: &[(PartKind, Side)] = match kind {
        ModelKind::Als => &[(PartKind::Factors, Side::Users), (PartKind::Factors, Side::Items)],
        ModelKind::ItemCf | ModelKind::Content | ModelKind::Ease => &[(PartKind::Neighbours, Side::Items)],
        // It is served from the versions that it blends.
        ModelKind::Hybrid => &[],
    };
    missing(needed, objects, shard_count)
}

/// The first parts that a data set lacks.
#[must_use]
pub fn missing_blocks(objects: &[ObjectEntry], shard_count: u32) -> Vec<String> {
    missing(&[(PartKind::Ratings, Side::Users), (PartKind::Ratings, Side::Items)], objects, shard_count)
}

fn missing(needed: &[(PartKind, Side)], objects: &[ObjectEntry], shard_count: u32) -> Vec<String> {
    let paths: BTreeSet<&str> = objects.iter().map(|object| object.path.as_str()).collect();
    let parts =
        needed.iter().flat_map(|&(kind, side)| (0..shard_count).map(move |shard| part(kind, side, shard)));
    let missing = parts.filter(|part| !paths.contains(part.as_str())).take(NAMED_MAX);
    missing.map(|part| format!("'{part}' is missing")).collect()
}

/// The kind of a version, whose model goes by the name of its folder.
#[must_use]
pub fn kind_of(version: &ModelVersion) -> Option<ModelKind> {
    ModelKind::ALL.into_iter().find(|kind| kind.folder() == version.model)
}

/// Lower-case letters, digits, `-` and `_`, as jobs name what they make.
pub(crate) fn is_name(name: &str, characters_max: usize) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=characters_max).contains(&name.len())
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || c == '-' || c == '_')
}

fn check_name(what: &str, name: &str, characters_max: usize, problems: &mut Vec<String>) {
    if !is_name(name, characters_max) {
        let shown: String = name.chars().take(characters_max).collect();
        problems.push(format!(
            "{what}, '{}', must be 1 to {characters_max} lower-case letters, digits, '-' or '_', and begin with a letter or digit",
            shown.escape_debug()
        ));
    }
}

fn check_checksum(of: &str, checksum: &str, problems: &mut Vec<String>) {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if checksum.len() != 32 || !checksum.bytes().all(is_digit) {
        problems.push(format!("the {of}'s manifest_checksum must be 32 lower-case hexadecimal digits"));
    }
}

fn check_size(of: &str, record: &impl Message, problems: &mut Vec<String>) {
    let bytes = record.encoded_len();
    if bytes > RECORD_BYTES_MAX {
        problems.push(format!("the {of}'s record has {bytes} bytes; at most {RECORD_BYTES_MAX} are kept"));
    }
}

/// As many rows and ratings as the data set says.
fn check_counts(side: &str, rows: u64, ratings: u64, shards: &[ShardStats], problems: &mut Vec<String>) {
    let sum = |of: fn(&ShardStats) -> u64| shards.iter().map(of).fold(0, u64::saturating_add);
    let (rows_of_shards, ratings_of_shards) = (sum(|shard| shard.rows), sum(|shard| shard.ratings));
    if rows_of_shards != rows || rows > ROWS_MAX {
        problems.push(format!("the data set has {rows} {side}, its shards have {rows_of_shards}"));
    }
    if ratings_of_shards != ratings || ratings > RATINGS_MAX {
        problems.push(format!(
            "the data set has {ratings} ratings, its shards of {side} have {ratings_of_shards}"
        ));
    }
}

fn check_blend(hybrid: &HybridModel, problems: &mut Vec<String>) {
    const POPULARITY: &str = "popularity";
    for source in &hybrid.sources {
        let is_known = source.model == POPULARITY
            || ModelKind::blended().any(|kind| [kind.folder(), kind.name()].contains(&source.model.as_str()));
        let levels = source.knots.iter().flat_map(|knot| [knot.score, knot.level]);
        if !is_known || !is_finite(source.weight) || !levels.map(f64::from).all(is_finite) {
            problems.push(
                "a source of the hybrid is of no known model, or has a number that is not finite".to_owned(),
            );
            return;
        }
    }
    if hybrid.sources.is_empty() || hybrid.sources.len() > ModelKind::ALL.len() {
        problems.push(format!("the hybrid has {} sources", hybrid.sources.len()));
    }
}

/// Finite as those have it who compute with single precision.
fn is_finite(number: f64) -> bool {
    (number as f32).is_finite()
}
