//! A model that was trained elsewhere, as a version in the store that can be registered.
//!
//! With a data set the version belongs to it: titles, popularity and what users have seen come from there, and
//! its rows without factors are users and items that the version does not know. Without one a data set is written
//! that has the model's ids and not one rating. The folder is claimed by the first file written, so that no two
//! imports write into one; the manifest comes last.

mod rows;
mod spark;

use bytes::Bytes;
use serde_json::json;
use shoal_common::{
    clock::{Clock, UtcTime, stamps},
    store::{
        METADATA_FILE, Manifest, PartKind, Store, StoreError, dataset_path, ids_part, join, model_path, part,
    },
};
use shoal_core::ModelKind;
use shoal_format::{
    blocks::BlockValues,
    id_column::IdColumn,
    tensor_file::{TensorFile, TensorFileError, TensorWriter},
};
use shoal_proto::v1::{
    AlsParameters, DatasetInfo, IdKind, ModelParameters, ModelVersion, ObjectEntry, ObjectiveChoice,
    ShardStats, Side, model_parameters::Model,
};
use shoal_worker::train::FactorValues;
pub use spark::{ALS_MODEL_CLASS, SparkError, SparkModel, SparkRows};

use self::rows::{PlacedRows, StrangeIds, shards_of};
use crate::model_files::SIDES;

/// The kind of model, which is also its folder.
const MODEL: &str = ModelKind::Als.folder();
/// The short file for scripts beside the full one.
const MODEL_INFO_FILE: &str = "model_info.json";
/// Shards per side of a data set that is written for a model.
const SHARDS: u32 = 16;

/// A model that was not imported; nothing of it is in the store.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store, or an object in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the data set, or of the version.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// The data set has other ids.
    #[error(
        "data set '{dataset}' has text ids where a Spark model has numbers; name the data set that the model was trained on"
    )]
    TextIds {
        /// Name of the data set.
        dataset: String,
    },
    /// The data set is another one.
    #[error(
        "{count} {side} of the model are not in data set '{dataset}', the first is {first}; name the data set that the model was trained on, or import without one"
    )]
    Strange {
        /// The side of the ids: "users" or "items".
        side: &'static str,
        /// How many ids of this side the data set does not have.
        count: usize,
        /// The lowest of them.
        first: i64,
        /// The data set's name.
        dataset: String,
    },
}

/// What to make of a model.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The data set it belongs to, if one is named.
    pub dataset: Option<&'a DatasetInfo>,
    /// Explicit factors predict ratings, implicit ones rank.
    pub objective: ObjectiveChoice,
    /// Where the model came from, for people.
    pub source_uri: &'a str,
}

/// A version in the store that the registry does not know yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The version as it is to be registered.
    pub version: ModelVersion,
    /// The data set that was written for it.
    pub dataset: Option<DatasetInfo>,
    /// Users that have factors.
    pub users: u64,
    /// Items that have factors.
    pub items: u64,
}

/// Writes `model` into `store` as a version.
///
/// # Errors
/// When the data set is not the model's, or the store cannot be read or written; then nothing is left of it.
pub async fn write_spark_model(
    store: &Store,
    clock: &dyn Clock,
    model: &SparkModel,
    wanted: Wanted<'_>,
) -> Result<Imported, ImportError> {
    if let Some(dataset) = wanted.dataset
        && [dataset.user_id_kind(), dataset.item_id_kind()].contains(&IdKind::Text)
    {
        return Err(ImportError::TextIds { dataset: dataset.name.clone() });
    }
    let mut sides = Vec::new();
    for (side, rows) in SIDES.into_iter().zip([&model.users, &model.items]) {
        let ids = match wanted.dataset {
            Some(dataset) => ids_of(store, dataset, side).await?,
            None => shards_of(&rows.ids, SHARDS),
        };
        let placed = PlacedRows::new(ids, rows, model.rank).map_err(|StrangeIds { count, first }| {
            let side = if side == Side::Items { "items" } else { "users" };
            let dataset = wanted.dataset.map(|dataset| dataset.name.clone()).unwrap_or_default();
            ImportError::Strange { side, count, first, dataset }
        })?;
        sides.push(placed);
    }
    let version = describe(clock, model, wanted);
    let (version, claimed) = claim(store, version, model, wanted).await?;
    let written = write(store, version.clone(), claimed, model, wanted, &sides).await;
    if written.is_err() {
        // The first error is the one to report.
        discard(store, &version, wanted.dataset.is_none()).await.ok();
    }
    written
}

/// Deletes what was written for a version that was not registered.
///
/// # Errors
/// The store's failure.
pub async fn discard(store: &Store, version: &ModelVersion, with_dataset: bool) -> Result<(), StoreError> {
    store.delete_folder(&version.path).await?;
    if with_dataset {
        store.delete_folder(&dataset_path(&version.dataset_name, &version.dataset_version)).await?;
    }
    Ok(())
}

/// The ids of a data set's rows, by shard.
async fn ids_of(store: &Store, dataset: &DatasetInfo, side: Side) -> Result<Vec<IdColumn>, ImportError> {
    let manifest = Manifest::read(store, &dataset.path, &dataset.manifest_checksum).await?;
    let mut columns = Vec::new();
    for shard in 0..dataset.shard_count {
        let path = part(PartKind::Ratings, side, shard);
        let bytes = store.get_verified(&dataset.path, manifest.entry(&path)?).await?;
        columns.push(IdColumn::read(&TensorFile::from_bytes(&path, &bytes)?)?);
    }
    Ok(columns)
}

/// The version but for its name, which is claimed.
fn describe(clock: &dyn Clock, model: &SparkModel, wanted: Wanted<'_>) -> ModelVersion {
    let mut parameters = AlsParameters { rank: model.rank as u32, ..AlsParameters::default() };
    parameters.set_objective(wanted.objective);
    ModelVersion {
        model: MODEL.to_owned(),
        dataset_name: wanted.dataset.map(|dataset| dataset.name.clone()).unwrap_or_default(),
        dataset_version: wanted.dataset.map(|dataset| dataset.version.clone()).unwrap_or_default(),
        // What was held out is not known.
        model_parameters: Some(ModelParameters { split: None, model: Some(Model::Als(parameters)) }),
        created_unix_ms: clock.now_unix_ms(),
        imported_from: format!("Spark {}", model.spark_version),
        ..ModelVersion::default()
    }
}

/// Gives the version the first name of its second whose folder is free, and writes the file for people there. A
/// model that comes without a data set gives its own name to the one that is written.
async fn claim(
    store: &Store,
    mut version: ModelVersion,
    model: &SparkModel,
    wanted: Wanted<'_>,
) -> Result<(ModelVersion, ObjectEntry), ImportError> {
    // Names do not come to an end: one is free.
    for stamp in stamps(version.created_unix_ms) {
        // Trainings name theirs otherwise, so none ever writes into this folder.
        version.name = format!("spark_model_v1_{stamp}");
        version.path = model_path(MODEL, &version.name);
        if wanted.dataset.is_none() {
            version.dataset_name.clone_from(&version.name);
            version.dataset_version = stamp;
        }
        let text = format!("{:#}\n", readable(&version, model, wanted));
        let path = join(&version.path, METADATA_FILE);
        if let Some(entry) = store.put_new(&path, Bytes::from(text)).await? {
            let entry = ObjectEntry { path: METADATA_FILE.to_owned(), ..entry };
            return Ok((version, entry));
        }
    }
    unreachable!("the names of a second do not come to an end")
}

fn readable(version: &ModelVersion, model: &SparkModel, wanted: Wanted<'_>) -> serde_json::Value {
    json!({
        "name": version.name,
        "model": version.model,
        "dataset": { "name": version.dataset_name, "version": version.dataset_version },
        "imported_from": version.imported_from,
        "source": wanted.source_uri,
        "parameters": {
            "rank": model.rank,
            "objective": if wanted.objective == ObjectiveChoice::Implicit { "implicit" } else { "explicit" },
        },
        "rating_mean": version.rating_mean,
        "users": model.users.ids.len(),
        "items": model.items.ids.len(),
        "created": UtcTime::from_unix_ms(version.created_unix_ms).iso_8601(),
        "code_version": env!("CARGO_PKG_VERSION"),
    })
}

/// Everything but the file that claimed the folder, the manifest last.
async fn write(
    store: &Store,
    mut version: ModelVersion,
    claimed: ObjectEntry,
    model: &SparkModel,
    wanted: Wanted<'_>,
    sides: &[PlacedRows],
) -> Result<Imported, ImportError> {
    let dataset = match wanted.dataset {
        Some(_) => None,
        None => Some(write_dataset(store, &version, wanted.source_uri, sides).await?),
    };
    let mut objects = vec![claimed];
    for (side, placed) in SIDES.into_iter().zip(sides) {
        for (shard, (ids, factors, known)) in placed.parts().enumerate() {
            let name = part(PartKind::Factors, side, shard as u32);
            let zeros = vec![0.0; ids.len()];
            let implicit = wanted.objective == ObjectiveChoice::Implicit;
            let values = FactorValues {
                ids,
                rank: model.rank,
                ranking: implicit.then_some(factors),
                rating: (!implicit).then_some((factors, &zeros)),
                train_counts: known,
            };
            put(store, &version.path, &name, values.to_bytes(&name)?, &mut objects).await?;
        }
    }
    let info = json!({
        "name": version.name,
        "model": version.model,
        "dataset": format!("{}@{}", version.dataset_name, version.dataset_version),
        "users": model.users.ids.len(),
        "items": model.items.ids.len(),
        "metrics": null,
    });
    let bytes = Bytes::from(format!("{info:#}\n"));
    put(store, &version.path, MODEL_INFO_FILE, bytes, &mut objects).await?;
    version.manifest_checksum = Manifest::new("model", objects).write(store, &version.path).await?;
    let (users, items) = (model.users.ids.len() as u64, model.items.ids.len() as u64);
    Ok(Imported { version, dataset, users, items })
}

/// A data set of the model's ids without a rating.
async fn write_dataset(
    store: &Store,
    version: &ModelVersion,
    source_uri: &str,
    sides: &[PlacedRows],
) -> Result<DatasetInfo, ImportError> {
    let (name, of) = (version.dataset_name.clone(), version.dataset_version.clone());
    let path = dataset_path(&name, &of);
    let mut objects = Vec::new();
    for (side, placed) in SIDES.into_iter().zip(sides) {
        for (shard, (ids, ..)) in placed.parts().enumerate() {
            let name = part(PartKind::Ratings, side, shard as u32);
            let indptr = vec![0; ids.len() + 1];
            let block = BlockValues { ids, indptr: &indptr, indices: &[], ratings: &[], timestamps: &[] };
            put(store, &path, &name, block.to_bytes(&name)?, &mut objects).await?;
            let name = ids_part(side, shard as u32);
            let mut writer = TensorWriter::new();
            ids.write(&mut writer);
            put(store, &path, &name, writer.to_bytes(&name)?, &mut objects).await?;
        }
    }
    let stats = |placed: &PlacedRows| -> Vec<ShardStats> {
        let parts = placed.parts().enumerate();
        let of_part = |(shard, (ids, ..)): (usize, (&IdColumn, &[f32], &[u32]))| ShardStats {
            shard: shard as u32,
            rows: ids.len() as u64,
            ratings: 0,
        };
        parts.map(of_part).collect()
    };
    let (user_shards, item_shards) = (stats(&sides[0]), stats(&sides[1]));
    let rows = |shards: &[ShardStats]| shards.iter().map(|shard| shard.rows).sum();
    let manifest_checksum = Manifest::new("dataset", objects).write(store, &path).await?;
    Ok(DatasetInfo {
        name,
        version: of,
        path,
        shard_count: SHARDS,
        user_id_kind: IdKind::Integer.into(),
        item_id_kind: IdKind::Integer.into(),
        users: rows(&user_shards),
        items: rows(&item_shards),
        user_shards,
        item_shards,
        manifest_checksum,
        created_unix_ms: version.created_unix_ms,
        source_uri: source_uri.to_owned(),
        ..DatasetInfo::default()
    })
}

async fn put(
    store: &Store,
    folder: &str,
    name: &str,
    bytes: Bytes,
    objects: &mut Vec<ObjectEntry>,
) -> Result<(), StoreError> {
    let entry = store.put(&join(folder, name), bytes).await?;
    objects.push(ObjectEntry { path: name.to_owned(), ..entry });
    Ok(())
}
