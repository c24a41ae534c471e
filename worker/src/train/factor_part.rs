//! Factor parts: what checkpoints and models consist of.
//!
//! Tensors: the id column, `ranking` f32[rows, rank], `rating` f32[rows, rank], `rating_bias` f32[rows]
//! (zeros without biases), `train_counts` u32[rows]; those of an objective that is not trained are absent.

use bytes::Bytes;
use shoal_format::{
    id_column::IdColumn,
    tensor_file::{TensorFile, TensorFileError, TensorWriter},
};
use shoal_proto::v1::{ObjectEntry, Objective};

use super::{context::TrainContext, error::TrainError};

const RANKING: &str = "ranking";
const RATING: &str = "rating";
const RATING_BIAS: &str = "rating_bias";
pub(super) const TRAIN_COUNTS: &str = "train_counts";

/// Reads an objective's rows of a part into stored rows of `width` elements (factors, then the bias if there is room).
pub(super) fn read_rows(
    file: &TensorFile,
    objective: Objective,
    rank: usize,
    width: usize,
    target: &mut [f32],
) -> Result<(), TensorFileError> {
    let rows = target.len() / width;
    let name = if objective == Objective::Ranking { RANKING } else { RATING };
    let (factors, columns) = file.matrix::<f32>(name, rows)?;
    if columns != rank {
        return Err(file.tensor_error(name, format!("its rank is {columns}, not {rank}")));
    }
    for (stored, factors) in target.chunks_exact_mut(width).zip(factors.chunks_exact(rank)) {
        stored[..rank].copy_from_slice(factors);
    }
    if width > rank {
        let biases = file.vector::<f32>(RATING_BIAS)?;
        if biases.len() != rows {
            return Err(file.tensor_error(RATING_BIAS, format!("it has {} rows, not {rows}", biases.len())));
        }
        for (stored, bias) in target.chunks_exact_mut(width).zip(biases) {
            stored[rank] = *bias;
        }
    }
    Ok(())
}

/// The values of a factor part to be written.
#[derive(Debug, Clone, Copy)]
pub struct FactorValues<'a> {
    /// The ids of the rows.
    pub ids: &'a IdColumn,
    /// Elements of a factor row.
    pub rank: usize,
    /// f32[rows, rank], for a version that ranks.
    pub ranking: Option<&'a [f32]>,
    /// `f32[rows, rank]` and `f32[rows]`, for a version that predicts ratings.
    pub rating: Option<(&'a [f32], &'a [f32])>,
    /// Ratings behind each row, trained on or folded in; a row with none is neither listed nor has it lists.
    pub train_counts: &'a [u32],
}

impl FactorValues<'_> {
    /// The file's bytes; `path` names it in errors.
    ///
    /// # Errors
    /// When the lengths do not fit together.
    pub fn to_bytes(&self, path: &str) -> Result<Bytes, TensorFileError> {
        let (count, rank) = (self.ids.len(), self.rank);
        let mut writer = TensorWriter::new();
        self.ids.write(&mut writer);
        if let Some((factors, biases)) = self.rating {
            writer.add(RATING, &[count, rank], factors);
            writer.add(RATING_BIAS, &[count], biases);
        }
        if let Some(factors) = self.ranking {
            writer.add(RANKING, &[count, rank], factors);
        }
        writer.add(TRAIN_COUNTS, &[count], self.train_counts);
        writer.to_bytes(path)
    }
}

/// One shard's item factors, read back from a checkpoint or model for evaluation.
pub(super) async fn read_item_part(
    context: &TrainContext,
    path: &str,
    entry: &ObjectEntry,
) -> Result<TensorFile, TrainError> {
    let bytes = context.job.store.get_verified(path, entry).await?;
    Ok(TensorFile::from_bytes(&entry.path, &bytes)?)
}
