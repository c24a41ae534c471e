//! A version of a model that answers by neighbours, as Parquet: its lists by item, and the biases of both sides.

use std::path::Path;

use shoal_proto::v1::{DatasetInfo, ModelVersion, Side};

use super::{
    ExportError, Exported, IdType, Unfinished, columns, item_ids::ItemIds, refuse_existing, wider,
    write_about, write_file,
};
use crate::model_files::ModelFiles;

/// Writes `version` below `out`, which must not exist or be empty. `progress` hears of parts done and in all. The ids of all
/// items are in memory, and one part at a time.
///
/// # Errors
/// When the version's files are damaged or the target cannot be written.
pub async fn export_neighbours(
    files: &ModelFiles<'_>,
    version: &ModelVersion,
    dataset: &DatasetInfo,
    out: &Path,
    mut progress: impl FnMut(usize, usize),
) -> Result<Exported, ExportError> {
    refuse_existing(out)?;
    let unfinished = Unfinished::beside(out)?;
    let mut exported = Exported::default();
    let (shards, mut done) = (files.shard_count(), 0);
    let mut is_done = || {
        done += 1;
        progress(done, 3 * shards as usize);
    };
    let path = |kind: &str, shard: u32| unfinished.path.join(kind).join(format!("part-{shard:05}.parquet"));
    let mut id_type = IdType::Int32;
    for shard in 0..shards {
        id_type = wider(id_type, &files.bias_part(Side::Users, shard).await?.ids);
    }
    for shard in 0..shards {
        let part = files.bias_part(Side::Users, shard).await?;
        write_file(&path("userBiases", shard), columns::biases(&part.ids, id_type, &part.biases))?;
        exported.users += part.ids.len() as u64;
        exported.files += 1;
        is_done();
    }
    let (mut items, mut biases) = (Vec::new(), Vec::new());
    for shard in 0..shards {
        let part = files.bias_part(Side::Items, shard).await?;
        items.push(part.ids);
        biases.push(part.biases);
    }
    let id_type = items.iter().fold(IdType::Int32, wider);
    for ((shard, ids), biases) in (0..).zip(&items).zip(&biases) {
        write_file(&path("itemBiases", shard), columns::biases(ids, id_type, biases))?;
        exported.items += ids.len() as u64;
        exported.files += 1;
        is_done();
    }
    let items = ItemIds::new(items);
    for shard in 0..shards {
        let (ids, neighbours) = files.neighbour_part(shard).await?;
        let bytes = columns::neighbours(&ids, &neighbours, &items, id_type);
        write_file(&path("itemNeighbours", shard), bytes)?;
        exported.neighbours += neighbours.parts().1.len() as u64;
        exported.files += 1;
        is_done();
    }
    // By how much a similarity of 1 raises a predicted rating; a model that does not predict so has none.
    let slope = (version.rating_slope != 0.0).then(|| ("rating_slope", version.rating_slope.into()));
    write_about(&unfinished.path, version, dataset, slope.as_slice())?;
    unfinished.finish(out)?;
    Ok(exported)
}
