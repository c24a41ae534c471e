//! One rating block of the data set as serving needs it: which rows of the other side each row has
//! rated, and how. Mapped and checked at opening, so that every accessor is total afterwards.

use std::path::Path;

use shoal_format::{
    id_column::IdColumn,
    tensor_file::{TensorFile, TensorFileError},
};

use super::error::LoadError;

const INDPTR: &str = "indptr";
const INDICES: &str = "indices";
const RATINGS: &str = "ratings";
const TIMESTAMPS: &str = "timestamps";

/// The ratings of one shard's rows.
#[derive(Debug)]
pub(super) struct RatingsPart {
    file: TensorFile,
    ids: IdColumn,
}

impl RatingsPart {
    /// Maps the file and checks it; `path` is the object's, for errors. `rows` are the shard's and
    /// `other_rows` all rows of the other side.
    pub(super) fn open(file: &Path, path: &str, rows: usize, other_rows: u64) -> Result<Self, LoadError> {
        let read = || -> Result<Self, TensorFileError> {
            let file = TensorFile::map(file)?;
            let ids = IdColumn::read(&file)?;
            let offsets = file.vector::<u64>(INDPTR)?;
            let indices = file.vector::<u32>(INDICES)?;
            let ratings = file.vector::<f32>(RATINGS)?;
            let wrong = |name: &str, reason: &str| Err(file.tensor_error(name, reason.to_owned()));
            if ids.len() != rows || offsets.len() != rows + 1 {
                let found = ids.len();
                return Err(file.tensor_error("ids", format!("it has {found} rows, the shard has {rows}")));
            }
            let spans = offsets.first() == Some(&0) && offsets.last() == Some(&(indices.len() as u64));
            if !spans || !offsets.is_sorted() {
                return wrong(INDPTR, "the offsets do not span the indices");
            }
            if ratings.len() != indices.len() || ratings.iter().any(|rating| !rating.is_finite()) {
                return wrong(RATINGS, "there is not one finite rating per index");
            }
            if file.vector::<i64>(TIMESTAMPS)?.len() != indices.len() {
                return wrong(TIMESTAMPS, "there is not one time per index");
            }
            if indices.iter().any(|&row| u64::from(row) >= other_rows) {
                return wrong(INDICES, "it names a row that the other side does not have");
            }
            let ascends =
                |pair: &[u64]| indices[pair[0] as usize..pair[1] as usize].is_sorted_by(|a, b| a < b);
            if !offsets.windows(2).all(ascends) {
                return wrong(INDICES, "the indices of a row do not ascend");
            }
            Ok(Self { file, ids })
        };
        read().map_err(|source| LoadError::Tensors { path: path.to_owned(), source: Box::new(source) })
    }

    /// The ids of the rows.
    pub(super) fn ids(&self) -> &IdColumn {
        &self.ids
    }

    /// Global rows of the other side that this row has rated, ascending.
    pub(super) fn rated(&self, row: usize) -> &[u32] {
        // Checked at opening: the default is never taken.
        &self.file.vector(INDICES).unwrap_or_default()[self.span(row)]
    }

    /// The ratings of a row, in the order of [`RatingsPart::rated`].
    pub(super) fn ratings(&self, row: usize) -> &[f32] {
        // Checked at opening: the default is never taken.
        &self.file.vector(RATINGS).unwrap_or_default()[self.span(row)]
    }

    /// When the ratings of a row were given, seconds since the epoch, 0 where that is not known; in the
    /// order of [`RatingsPart::rated`].
    pub(super) fn timestamps(&self, row: usize) -> &[i64] {
        // Checked at opening: the default is never taken.
        &self.file.vector(TIMESTAMPS).unwrap_or_default()[self.span(row)]
    }

    /// The time of the newest rating of all rows; 0 when none is known.
    pub(super) fn newest(&self) -> i64 {
        let timestamps: &[i64] = self.file.vector(TIMESTAMPS).unwrap_or_default();
        timestamps.iter().copied().max().unwrap_or_default()
    }

    fn span(&self, row: usize) -> std::ops::Range<usize> {
        let offsets: &[u64] = self.file.vector(INDPTR).unwrap_or_default();
        // Checked at opening: offsets fit the indices, which fit in memory.
        offsets[row] as usize..offsets[row + 1] as usize
    }
}
