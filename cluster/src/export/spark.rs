//! A model version as a folder that Spark's `ALSModel.load` reads.
//!
//! ```text
//! <out>/metadata/part-00000                               a line of JSON
//! <out>/{userFactors,itemFactors}/part-00000.parquet      id, features
//! ```
//!
//! An `ALSModel` predicts the inner product and nothing else. What a version adds to it goes into two more
//! elements: a user's row ends in (mean + user bias, 1), an item's in (1, item bias). Rows without training ratings
//! are left out, as Spark leaves them out: it answers for them as its cold-start strategy says.

use std::{fs, path::Path};

use serde_json::json;
use shoal_format::id_column::IdColumn;
use shoal_proto::v1::{ModelVersion, Side};

use super::{
    ExportError, Exported, IdType, Unfinished, columns, failed, refuse_existing, widest_id, write_file,
};
use crate::{
    import::ALS_MODEL_CLASS,
    model_files::{ModelFiles, Part, SIDES},
};

/// The oldest release whose parameters the metadata names: later ones know them all.
const SPARK_VERSION: &str = "3.0.0";

/// Which factors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparkObjective {
    /// Those that predict ratings, with mean and biases.
    Explicit,
    /// The factors that rank.
    Implicit,
}

/// Rows of one part as Spark is to have them.
struct SparkPart {
    ids: IdColumn,
    values: Vec<f32>,
}

/// Writes `version` below `out`, which must not exist or be empty. `progress` hears of parts done and in all.
///
/// # Errors
/// When the version lacks the objective or has ids that Spark cannot hold, its files are damaged, or the target
/// cannot be written.
pub async fn export_spark(
    files: &ModelFiles<'_>,
    version: &ModelVersion,
    objective: SparkObjective,
    out: &Path,
    mut progress: impl FnMut(usize, usize),
) -> Result<Exported, ExportError> {
    refuse_existing(out)?;
    let (has_ranking, has_rating) = files.objectives();
    let trained = if objective == SparkObjective::Implicit { has_ranking } else { has_rating };
    if !trained {
        return Err(ExportError::Objective { version: version.name.clone() });
    }
    for side in SIDES {
        let id_type = widest_id(files, side).await?;
        if id_type != IdType::Int32 {
            return Err(ExportError::SparkIds { side: side_name(side) });
        }
    }
    // Without mean and biases the factors are written as they are.
    let widened = objective == SparkObjective::Explicit && has_biases(files, version).await?;
    let rank = files.rank() + if widened { 2 } else { 0 };
    let unfinished = Unfinished::beside(out)?;
    let mut exported = Exported::default();
    let total = SIDES.len() * files.shard_count() as usize;
    let mut done = 0;
    for side in SIDES {
        let folder = if side == Side::Items { "itemFactors" } else { "userFactors" };
        for shard in 0..files.shard_count() {
            let part = files.part(side, shard).await?;
            let rows = spark_part(&part, objective, widened.then_some((side, version.rating_mean)))?;
            let path = unfinished.path.join(folder).join(format!("part-{shard:05}.parquet"));
            write_file(&path, columns::factors(&rows.ids, IdType::Int32, &rows.values, rank))?;
            exported.files += 1;
            *(if side == Side::Users { &mut exported.users } else { &mut exported.items }) +=
                rows.ids.len() as u64;
            done += 1;
            progress(done, total);
        }
    }
    write_metadata(&unfinished.path, version, rank)?;
    unfinished.finish(out)?;
    Ok(exported)
}

fn side_name(side: Side) -> &'static str {
    if side == Side::Items { "items" } else { "users" }
}

/// Whether anything is added to the inner product.
async fn has_biases(files: &ModelFiles<'_>, version: &ModelVersion) -> Result<bool, ExportError> {
    if version.rating_mean != 0.0 {
        return Ok(true);
    }
    for side in SIDES {
        for shard in 0..files.shard_count() {
            let part = files.part(side, shard).await?;
            if part.rating_biases()?.unwrap_or_default().iter().any(|bias| *bias != 0.0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The rows that were trained; with mean and biases in two more elements where `widened` names side and mean.
fn spark_part(
    part: &Part,
    objective: SparkObjective,
    widened: Option<(Side, f64)>,
) -> Result<SparkPart, ExportError> {
    let factors = match objective {
        SparkObjective::Explicit => part.rating()?,
        SparkObjective::Implicit => part.ranking()?,
    };
    let (factors, rank) = factors.unwrap_or_default();
    let biases = part.rating_biases()?.unwrap_or_default();
    let mut rows = SparkPart { ids: IdColumn::empty(part.id_kind()), values: Vec::new() };
    for (row, count) in part.train_counts()?.iter().enumerate() {
        if *count == 0 {
            continue;
        }
        rows.ids.push_ref(part.ids.get_ref(row));
        rows.values.extend_from_slice(&factors[row * rank..(row + 1) * rank]);
        match widened {
            None => {}
            Some((Side::Items, _)) => rows.values.extend([1.0, biases[row]]),
            Some((_, mean)) => rows.values.extend([(mean + f64::from(biases[row])) as f32, 1.0]),
        }
    }
    Ok(rows)
}

fn write_metadata(root: &Path, version: &ModelVersion, rank: usize) -> Result<(), ExportError> {
    let metadata = json!({
        "class": ALS_MODEL_CLASS,
        "timestamp": version.created_unix_ms,
        "sparkVersion": SPARK_VERSION,
        "uid": version.name,
        "paramMap": {},
        "defaultParamMap": {
            "coldStartStrategy": "nan",
            "itemCol": "item",
            "predictionCol": "prediction",
            "userCol": "user",
        },
        "rank": rank,
    });
    let folder = root.join("metadata");
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let path = folder.join("part-00000");
    fs::write(&path, format!("{metadata}\n")).map_err(failed(&path))
}
