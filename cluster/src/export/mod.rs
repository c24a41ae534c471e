//! A model version as Parquet, for others to read and check: of ALS its factors ([`export_parquet`]), of a model that answers by
//! neighbours its lists ([`export_neighbours`]); for Spark: [`export_spark`].
//!
//! ```text
//! <out>/export.json                              version, rank, rating mean, parameters
//! <out>/ranking/{userFactors,itemFactors}/part-00000.parquet      id, features
//! <out>/rating/{userFactors,itemFactors}/part-00000.parquet       id, features
//! <out>/rating/{userBiases,itemBiases}/part-00000.parquet         id, bias
//! <out>/{userBiases,itemBiases}/part-00000.parquet                id, bias, of a model that answers by neighbours
//! <out>/itemNeighbours/part-00000.parquet                         id, neighbour_id, weight
//! ```
//!
//! Factors have the columns of a saved Spark `ALSModel`. A predicted rating is `rating_mean` + user
//! bias + item bias + the inner product of the rating factors; a ranking score is the inner product
//! of the ranking factors. Everything is written to a folder beside the target first, so that a
//! half-made export is never found under its name. One part is in memory at a time.

mod columns;
mod item_ids;
mod neighbours;
mod spark;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use columns::IdType;
pub use neighbours::export_neighbours;
use parquet::errors::ParquetError;
use serde_json::{Value, json};
use shoal_common::readable::parameters_json;
use shoal_format::{id_column::IdColumn, tensor_file::TensorFileError};
use shoal_proto::v1::{DatasetInfo, ModelVersion, Side};
pub use spark::{SparkObjective, export_spark};

use crate::model_files::{ModelFiles, ModelFilesError, Part, SIDES};

/// An export that was not made; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The target is there already.
    #[error("'{0}' exists and is not empty; choose another folder")]
    Exists(PathBuf),
    /// Spark's models have one set of factors, and the version has another one.
    #[error("version '{version}' was not trained for this objective; choose the other with --objective")]
    Objective {
        /// Name of the version.
        version: String,
    },
    /// Spark's models have 32-bit ids.
    #[error("the ids of the {side} do not fit in 32 bits, which is what an ALSModel has; use --to parquet")]
    SparkIds {
        /// The side whose ids do not fit: "users" or "items".
        side: &'static str,
    },
    /// The version's files cannot be used.
    #[error(transparent)]
    Model(#[from] ModelFilesError),
    /// A folder or file cannot be written.
    #[error("cannot write '{path}'; check its rights and the space on its disk")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Parquet refused the rows.
    #[error("cannot write '{path}' as Parquet")]
    Parquet {
        /// The folder or file.
        path: PathBuf,
        /// What the library said.
        source: ParquetError,
    },
}

impl From<TensorFileError> for ExportError {
    fn from(error: TensorFileError) -> Self {
        Self::Model(error.into())
    }
}

/// How much has been written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// How many Parquet files.
    pub files: usize,
    /// Users whose factors or biases were written.
    pub users: u64,
    /// Items whose factors or biases were written.
    pub items: u64,
    /// Neighbours of all items together; 0 for a model of factors.
    pub neighbours: u64,
}

/// Writes `version` below `out`, which must not exist or be empty. `progress` hears of parts done and in all.
///
/// # Errors
/// When the version's files are damaged or the target cannot be written.
pub async fn export_parquet(
    files: &ModelFiles<'_>,
    version: &ModelVersion,
    dataset: &DatasetInfo,
    out: &Path,
    mut progress: impl FnMut(usize, usize),
) -> Result<Exported, ExportError> {
    refuse_existing(out)?;
    let unfinished = Unfinished::beside(out)?;
    let mut exported = Exported::default();
    let total = SIDES.len() * files.shard_count() as usize;
    let mut done = 0;
    for side in SIDES {
        let id_type = widest_id(files, side).await?;
        for shard in 0..files.shard_count() {
            let part = files.part(side, shard).await?;
            exported.files += write_part(&unfinished.path, files, side, shard, &part, id_type)?;
            let rows = part.ids.len() as u64;
            *(if side == Side::Users { &mut exported.users } else { &mut exported.items }) += rows;
            done += 1;
            progress(done, total);
        }
    }
    let (ranking, rating) = files.objectives();
    let of_factors = [("rank", files.rank().into()), ("ranking", ranking.into()), ("rating", rating.into())];
    write_about(&unfinished.path, version, dataset, &of_factors)?;
    unfinished.finish(out)?;
    Ok(exported)
}

fn refuse_existing(out: &Path) -> Result<(), ExportError> {
    match fs::read_dir(out).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(ExportError::Exists(out.to_owned())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(out)(error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::File { path, source }
}

/// Writes `export.json`: what is known of the version, and what `of_model` adds.
fn write_about(
    folder: &Path,
    version: &ModelVersion,
    dataset: &DatasetInfo,
    of_model: &[(&str, Value)],
) -> Result<(), ExportError> {
    let mut about = json!({
        "version": version.name,
        "model": version.model,
        "rating_mean": version.rating_mean,
        "dataset": dataset.name,
        "dataset_version": dataset.version,
        "users": dataset.users,
        "items": dataset.items,
        "parameters": version.model_parameters.as_ref().map(parameters_json),
    });
    for (name, value) in of_model {
        about[*name] = value.clone();
    }
    let path = folder.join("export.json");
    fs::write(&path, format!("{about:#}\n")).map_err(failed(&path))
}

/// The narrowest type that holds every id of the side: Spark's factors have 32-bit ids where they fit.
async fn widest_id(files: &ModelFiles<'_>, side: Side) -> Result<IdType, ExportError> {
    let mut widest = IdType::Int32;
    for shard in 0..files.shard_count() {
        widest = wider(widest, &files.part(side, shard).await?.ids);
    }
    Ok(widest)
}

/// The type that holds these ids too.
fn wider(id_type: IdType, ids: &IdColumn) -> IdType {
    match ids {
        IdColumn::Text { .. } => IdType::Text,
        // Ascending, so the ends are the extremes.
        IdColumn::Integer(ids) => {
            let is_wide =
                [ids.first(), ids.last()].into_iter().flatten().any(|id| i32::try_from(*id).is_err());
            if is_wide && id_type == IdType::Int32 { IdType::Int64 } else { id_type }
        }
    }
}

/// Writes what one part holds; how many files that made.
fn write_part(
    root: &Path,
    files: &ModelFiles<'_>,
    side: Side,
    shard: u32,
    part: &Part,
    id_type: IdType,
) -> Result<usize, ExportError> {
    let (factors, biases) =
        if side == Side::Items { ("itemFactors", "itemBiases") } else { ("userFactors", "userBiases") };
    let place = |objective: &str, kind: &str| {
        root.join(objective).join(kind).join(format!("part-{shard:05}.parquet"))
    };
    let mut written = 0;
    for (objective, values) in [("ranking", part.ranking()?), ("rating", part.rating()?)] {
        let Some((values, _)) = values else { continue };
        let path = place(objective, factors);
        let bytes = columns::factors(&part.ids, id_type, values, files.rank());
        write_file(&path, bytes)?;
        written += 1;
    }
    if let Some(values) = part.rating_biases()? {
        let path = place("rating", biases);
        write_file(&path, columns::biases(&part.ids, id_type, values))?;
        written += 1;
    }
    Ok(written)
}

fn write_file(path: &Path, bytes: Result<Vec<u8>, ParquetError>) -> Result<(), ExportError> {
    let bytes = bytes.map_err(|source| ExportError::Parquet { path: path.to_owned(), source })?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    fs::write(path, bytes).map_err(failed(path))
}

/// A folder that is removed unless it was finished.
struct Unfinished {
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    fn beside(out: &Path) -> Result<Self, ExportError> {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unfinished-{}", std::process::id()));
        let path = out.with_file_name(name);
        fs::create_dir_all(&path).map_err(failed(&path))?;
        Ok(Self { path, finished: false })
    }

    fn finish(mut self, out: &Path) -> Result<(), ExportError> {
        // Renaming a folder onto an empty one replaces it.
        fs::rename(&self.path, out).map_err(failed(out))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What stays behind has a name that says what it is.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
