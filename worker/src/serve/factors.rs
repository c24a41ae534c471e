//! One part of a model: the factors of one shard's rows, mapped and checked.
//!
//! After [`FactorPart::open`] every accessor is total: names, types, shapes and finiteness were
//! checked, and a mapped object does not change.

use std::path::Path;

use shoal_engine::score::{Bounds, FactorRows, Screen, norm};
use shoal_format::{
    id_column::IdColumn,
    model_parts::read_biases,
    tensor_file::{TensorFile, TensorFileError},
};
use shoal_proto::v1::{AlsParameters, Objective, ObjectiveChoice};

use super::error::LoadError;

const RANKING: &str = "ranking";
const RATING: &str = "rating";
const RATING_BIAS: &str = "rating_bias";
const TRAIN_COUNTS: &str = "train_counts";
/// Of a version without factors.
const BIAS: &str = "bias";

/// What the registry says of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorShape {
    /// Rows of the shard.
    pub rows: usize,
    /// Elements of a factor row.
    pub rank: usize,
    /// Whether the version was trained to rank.
    pub ranking: bool,
    /// Whether the version was trained to predict ratings.
    pub rating: bool,
}

impl FactorShape {
    /// The shape of a shard with `rows` rows in a version that has biases and no factors.
    #[must_use]
    pub fn without_factors(rows: usize) -> Self {
        Self { rows, rank: 0, ranking: false, rating: false }
    }

    /// The shape of a shard with `rows` rows in a version trained with these parameters.
    #[must_use]
    pub fn new(parameters: &AlsParameters, rows: usize) -> Self {
        let choice = parameters.objective();
        Self {
            rows,
            rank: parameters.rank as usize,
            ranking: choice != ObjectiveChoice::Explicit,
            rating: choice != ObjectiveChoice::Implicit,
        }
    }
}

/// The factors of one shard.
#[derive(Debug)]
pub struct FactorPart {
    file: TensorFile,
    ids: IdColumn,
    shape: FactorShape,
}

impl FactorPart {
    /// Maps the file and checks it; `path` is the object's, for errors.
    ///
    /// # Errors
    /// When a tensor is missing, of another type or shape, or not finite.
    pub fn open(file: &Path, path: &str, shape: FactorShape) -> Result<Self, LoadError> {
        let read = || -> Result<Self, TensorFileError> {
            let file = TensorFile::map(file)?;
            let ids = IdColumn::read(&file)?;
            check_length(&file, "ids", ids.len(), shape.rows)?;
            check_length(&file, TRAIN_COUNTS, file.vector::<u32>(TRAIN_COUNTS)?.len(), shape.rows)?;
            if shape.ranking {
                check_matrix(&file, RANKING, shape)?;
            }
            if shape.rating {
                check_matrix(&file, RATING, shape)?;
                let biases = file.vector::<f32>(RATING_BIAS)?;
                check_length(&file, RATING_BIAS, biases.len(), shape.rows)?;
                check_finite(&file, RATING_BIAS, biases, 1)?;
            }
            if !shape.ranking && !shape.rating {
                read_biases(&file, shape.rows)?;
            }
            Ok(Self { file, ids, shape })
        };
        read().map_err(|source| LoadError::Tensors { path: path.to_owned(), source: Box::new(source) })
    }

    /// The ids of the rows.
    #[must_use]
    pub fn ids(&self) -> &IdColumn {
        &self.ids
    }

    /// How many rows the part has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// The factors of an objective, if the version has it.
    #[must_use]
    pub fn factors(&self, objective: Objective) -> Option<FactorRows<'_>> {
        let (trained, name) = match objective {
            Objective::Ranking => (self.shape.ranking, RANKING),
            Objective::Rating => (self.shape.rating, RATING),
            Objective::Unspecified => return None,
        };
        // Checked at opening: for a trained objective this is never an error.
        let values = self.file.matrix::<f32>(name, self.shape.rows).ok().filter(|_| trained)?;
        Some(FactorRows::new(values.0, values.1))
    }

    /// The biases of the rating objective, or of a version without factors; `None` when the version only ranks.
    #[must_use]
    pub fn rating_biases(&self) -> Option<&[f32]> {
        let FactorShape { ranking, rating, .. } = self.shape;
        let name = if ranking || rating { RATING_BIAS } else { BIAS };
        self.file.vector(name).ok().filter(|_| rating || !ranking)
    }

    /// Training ratings of each row.
    #[must_use]
    pub fn train_counts(&self) -> &[u32] {
        // Checked at opening, so the default is never taken.
        self.file.vector(TRAIN_COUNTS).unwrap_or_default()
    }

    /// What bounds the scores of an objective's trained rows; `None` when the version lacks it.
    #[must_use]
    pub fn screen(&self, objective: Objective) -> Option<Screen> {
        let factors = self.factors(objective)?;
        let biases = if objective == Objective::Rating { self.rating_biases() } else { None };
        let biases = biases.unwrap_or_default();
        Some(Screen::new(factors.values(), factors.rank(), biases, self.train_counts(), Bounds::Fastest))
    }

    /// The norm of every row of an objective; empty when the version lacks it.
    #[must_use]
    pub fn norms(&self, objective: Objective) -> Vec<f64> {
        self.factors(objective)
            .map(|factors| (0..factors.len()).map(|row| norm(factors.row(row))).collect())
            .unwrap_or_default()
    }
}

fn check_length(file: &TensorFile, name: &str, found: usize, expected: usize) -> Result<(), TensorFileError> {
    if found == expected {
        return Ok(());
    }
    Err(file.tensor_error(name, format!("it has {found} rows, the data set's shard has {expected}")))
}

fn check_matrix(file: &TensorFile, name: &str, shape: FactorShape) -> Result<(), TensorFileError> {
    let (values, rank) = file.matrix::<f32>(name, shape.rows)?;
    if rank != shape.rank || rank == 0 {
        return Err(file.tensor_error(name, format!("its rank is {rank}, the version's is {}", shape.rank)));
    }
    check_finite(file, name, values, rank)
}

fn check_finite(
    file: &TensorFile,
    name: &str,
    values: &[f32],
    columns: usize,
) -> Result<(), TensorFileError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            Err(file.tensor_error(name, format!("row {} has a value that is not finite", at / columns)))
        }
    }
}
