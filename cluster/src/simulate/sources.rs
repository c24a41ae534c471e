//! Where known users come from: a cluster's files, a folder of ratings, a list of ids, or the service itself.
//!
//! With the first two it is also known what each user has rated, which lists are then checked for.

use std::{io, path::Path, sync::Arc};

use shoal_common::{
    compute::{Compute, ComputeError},
    ids::{EntityId, IdKind},
    store::{Access, Manifest, PartKind, Store, StoreError, StoreOptions, part},
};
use shoal_core::ModelKind;
use shoal_dataset::{
    parse::Rules,
    source::{SourceError, SourceFolder, inspect, rows::RowSink},
};
use shoal_format::{
    blocks::RatingBlock,
    id_column::IdColumn,
    row::Row,
    tensor_file::{TensorFile, TensorFileError},
};
use shoal_proto::v1::{DatasetInfo, DatasetSource, FileContent, ModelVersion, Side};

use super::users::{KNOWN_USERS_MAX, KnownUser, Sample};
use crate::{
    model_files::{ModelFiles, ModelFilesError},
    recommender::{Recommender, RecommenderError},
};

/// Ids that a service is asked about when nothing else tells who is known.
const PROBED_IDS: i64 = 1_000;
/// Users whose lists are asked for to learn of items, and items per list.
const LISTS: usize = 20;
const LIST_LENGTH: u32 = 100;

/// Users, and the largest integer id there is.
pub type Users = (Vec<KnownUser>, Option<i64>);

/// Users who cannot be told.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SourcesError {
    #[error("cannot read the users' file '{path}': {source}; it must have one id a line")]
    File { path: String, source: io::Error },
    #[error(transparent)]
    Data(#[from] SourceError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Model(#[from] ModelFilesError),
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    #[error(transparent)]
    Service(#[from] RecommenderError),
    #[error(
        "the service cannot be asked whom it knows ({0}); name known users with --users FILE, --data DIR or --cluster HOST:PORT"
    )]
    Unasked(RecommenderError),
    #[error(
        "no known user was found in {0}; name known users with --users FILE, --data DIR or --cluster HOST:PORT"
    )]
    Nobody(String),
    #[error("the service lists no item for any known user; ask for lists alone with --mix recommend=1")]
    NoItems,
}

fn somebody(users: Users, place: impl Into<String>) -> Result<Users, SourcesError> {
    if users.0.is_empty() { Err(SourcesError::Nobody(place.into())) } else { Ok(users) }
}

/// The ids of a file, one a line. They are integers if all of them can be.
///
/// # Errors
/// When it cannot be read, or names nobody.
pub fn from_file(path: &Path, seed: u64) -> Result<Users, SourcesError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| SourcesError::File { path: name.clone(), source })?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let integers: Option<Vec<i64>> = lines.iter().map(|line| line.parse().ok()).collect();
    let ids: Vec<EntityId> = match integers {
        Some(ids) => ids.into_iter().map(EntityId::Integer).collect(),
        None => lines.into_iter().map(|line| EntityId::Text(line.into())).collect(),
    };
    let mut sample = Sample::new(seed, KNOWN_USERS_MAX);
    ids.into_iter().for_each(|id| sample.add(id, []));
    somebody(sample.finish(false), format!("'{name}'"))
}

/// The users of rating files, with what they have rated.
///
/// # Errors
/// When the files cannot be read, or have no ratings.
pub async fn from_data(uri: &str, seed: u64) -> Result<Users, SourcesError> {
    let source = DatasetSource { uri: uri.to_owned(), ..DatasetSource::default() };
    let access = Access::anywhere(StoreOptions::default());
    let found = inspect(&source, &access).await?;
    let folder = SourceFolder::open(&source, &access)?;
    let kind = |kind| IdKind::from_proto(kind).unwrap_or(IdKind::Integer);
    let rules = Rules {
        user_id_kind: kind(found.user_id_kind()),
        item_id_kind: kind(found.item_id_kind()),
        rating_min: 0.0,
        rating_max: 0.0,
    };
    let compute = Compute::new("simulate", 1)?;
    let mut sink = RatedBy(Sample::new(seed, KNOWN_USERS_MAX));
    for file in found.files.iter().filter(|file| file.content() == FileContent::Ratings) {
        let range = file.data_offset..file.length_bytes;
        sink = folder.read_range(file, rules, range, &compute, sink, |_| ()).await?.sink;
    }
    somebody(sink.0.finish(true), format!("'{uri}'"))
}

struct RatedBy(Sample);

impl RowSink for RatedBy {
    type Error = SourcesError;

    fn take(&mut self, row: &Row<'_>, _: u64) -> Result<(), SourcesError> {
        if let Row::Rating(rating) = row {
            self.0.add(rating.user.to_entity(), [rating.item.hash64()]);
        }
        Ok(())
    }
}

/// The users whom a version knows, with all that they have rated.
///
/// # Errors
/// When a file is missing or damaged, or the version knows nobody.
pub async fn from_store(
    store: &Store,
    version: &ModelVersion,
    dataset: &DatasetInfo,
    seed: u64,
) -> Result<Users, SourcesError> {
    // Only ALS keeps how many ratings each user was trained on; for other models, whoever has rated is known.
    let files = match ModelKind::parse(&version.model) {
        Ok(ModelKind::Als) => Some(ModelFiles::open(store, version, dataset).await?),
        _ => None,
    };
    let manifest = Manifest::read(store, &dataset.path, &dataset.manifest_checksum).await?;
    let block = async |side: Side, shard: u32| {
        let path = part(PartKind::Ratings, side, shard);
        let bytes = store.get_verified(&dataset.path, manifest.entry(&path)?).await?;
        Ok::<_, SourcesError>(TensorFile::from_bytes(&path, &bytes)?)
    };
    let mut items: Vec<u64> = Vec::new();
    for shard in 0..dataset.shard_count {
        let ids = IdColumn::read(&block(Side::Items, shard).await?)?;
        items.extend((0..ids.len()).map(|row| ids.hash64(row)));
    }
    let mut sample = Sample::new(seed, KNOWN_USERS_MAX);
    for shard in 0..dataset.shard_count {
        let file = block(Side::Users, shard).await?;
        let ids = IdColumn::read(&file)?;
        let rated = RatingBlock::open(file, ids.len(), items.len() as u64)?;
        let trained = match &files {
            Some(files) => Some(files.part(Side::Users, shard).await?.train_counts()?.to_vec()),
            None => None,
        };
        for row in 0..ids.len() {
            let is_known = match &trained {
                Some(counts) => counts.get(row).is_some_and(|&count| count > 0),
                None => !rated.span(row).is_empty(),
            };
            if is_known {
                // Blocks name rows that there are: checked when they are opened.
                let rows = &rated.indices()[rated.span(row)];
                sample.add(ids.get(row), rows.iter().map(|&item| items[item as usize]));
            }
        }
    }
    somebody(sample.finish(true), format!("version '{}'", version.name))
}

/// Users with small integer ids whom the service says that it knows.
///
/// # Errors
/// When it does not say, or knows none of them.
pub async fn from_service(service: &Recommender, seed: u64) -> Result<Users, SourcesError> {
    let ids: Vec<i64> = (1..=PROBED_IDS).collect();
    let sources = service.sources(&ids).await.map_err(SourcesError::Unasked)?;
    let known = ids.into_iter().zip(sources).filter(|(_, source)| source == "model");
    let mut sample = Sample::new(seed, KNOWN_USERS_MAX);
    known.for_each(|(id, _)| sample.add(EntityId::Integer(id), []));
    somebody(sample.finish(false), format!("the ids 1 to {PROBED_IDS}"))
}

/// Items that the service lists for some of the users: it knows those.
///
/// # Errors
/// When it does not answer, or lists nothing.
pub async fn listed_items(service: &Recommender, users: &[KnownUser]) -> Result<Vec<EntityId>, SourcesError> {
    let (mut items, names) = (Vec::new(), service.api().names());
    for user in users.iter().take(LISTS) {
        let answer = service.recommend(&user.id.to_string(), &[("n", LIST_LENGTH.to_string())]).await?;
        let list = answer[names.recommended].as_array().map(Vec::as_slice).unwrap_or_default();
        items.extend(list.iter().filter_map(|item| {
            let id = &item[names.item_id];
            id.as_i64().map(EntityId::Integer).or_else(|| Some(EntityId::Text(Arc::from(id.as_str()?))))
        }));
    }
    items.sort_unstable();
    items.dedup();
    if items.is_empty() { Err(SourcesError::NoItems) } else { Ok(items) }
}
