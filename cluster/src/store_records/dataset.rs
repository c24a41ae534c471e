//! The record of a data set.

use serde::Deserialize;
use shoal_common::{
    ids::IdKind,
    store::{PartKind, Store, StoreError, dataset_path, join, part},
};
use shoal_format::{id_column::IdColumn, tensor_file::TensorFile};
use shoal_proto::v1::{self, DatasetInfo, ShardStats, Side};

use super::{Folder, RecordError, exact::Exact};

/// What `metadata.json` says that the parts do not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    catalogue_items: u64,
    tags: u64,
    genome_items: u64,
    rating: Scale,
    source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scale {
    min: Exact,
    max: Exact,
    mean: Exact,
}

/// Reads the record of a data set, counting rows and ratings in its parts. A data set that came with an imported model
/// has no ratings, and no file that says their scale.
///
/// # Errors
/// When the folder is not whole.
pub async fn read_dataset(store: &Store, name: &str, version: &str) -> Result<DatasetInfo, RecordError> {
    let folder = Folder::read(store, dataset_path(name, version)).await?;
    let Metadata { catalogue_items, tags, genome_items, rating, source } =
        folder.parsed()?.unwrap_or_default();
    let (users, user_kind) = side_of(store, &folder, Side::Users).await?;
    let (items, item_kind) = side_of(store, &folder, Side::Items).await?;
    let sum = |shards: &[ShardStats], of: fn(&ShardStats) -> u64| shards.iter().map(of).sum();
    Ok(DatasetInfo {
        name: name.to_owned(),
        version: version.to_owned(),
        shard_count: users.len() as u32,
        user_id_kind: v1::IdKind::from(user_kind).into(),
        item_id_kind: v1::IdKind::from(item_kind).into(),
        users: sum(&users, |shard| shard.rows),
        items: sum(&items, |shard| shard.rows),
        ratings: sum(&users, |shard| shard.ratings),
        user_shards: users,
        item_shards: items,
        rating_min: rating.min.0,
        rating_max: rating.max.0,
        rating_mean: rating.mean.0,
        catalogue_items,
        tags,
        genome_items,
        source_uri: source,
        manifest_checksum: folder.checksum,
        path: folder.path,
        ..DatasetInfo::default()
    })
}

/// Rows and ratings of each shard of a side, and what its ids are.
async fn side_of(
    store: &Store,
    folder: &Folder,
    side: Side,
) -> Result<(Vec<ShardStats>, IdKind), RecordError> {
    let mut shards = Vec::new();
    // Of a side without rows either kind is right.
    let mut kind = IdKind::Integer;
    for shard in 0.. {
        let name = part(PartKind::Ratings, side, shard);
        if folder.manifest.entry(&name).is_err() {
            break;
        }
        let file = open(store, folder, &name).await?;
        let (ids, indptr) = (IdColumn::read(&file)?, file.vector::<u64>("indptr")?);
        if !ids.is_empty() || shard == 0 {
            kind = ids.kind();
        }
        let ratings = indptr.last().copied().unwrap_or_default();
        shards.push(ShardStats { shard, rows: ids.len() as u64, ratings });
    }
    if shards.is_empty() {
        return Err(
            StoreError::NotFound(format!("{}/{}", folder.path, part(PartKind::Ratings, side, 0))).into()
        );
    }
    Ok((shards, kind))
}

/// A part. Of a folder on this machine only the pages that are looked at are read; whoever loads the part checks it whole.
async fn open(store: &Store, folder: &Folder, name: &str) -> Result<TensorFile, RecordError> {
    let path = join(&folder.path, name);
    Ok(match store.file_path(&path)? {
        Some(file) => TensorFile::map(&file)?,
        None => {
            let bytes = store.get_verified(&folder.path, folder.manifest.entry(name)?).await?;
            TensorFile::from_bytes(&path, &bytes)?
        }
    })
}
