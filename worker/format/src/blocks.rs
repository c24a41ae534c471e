//! One rating block of a data set: a shard's rows, which rows of the other side each has rated, and
//! how. Checked in full when it is opened, so that every accessor is total afterwards.
//!
//! Tensors: the id column, `indptr` `u64[rows + 1]`, `indices` `u32[n]` (global rows of the other side,
//! ascending within a row), `ratings` `f32[n]`, `timestamps` `i64[n]` (seconds since the epoch; 0 where the
//! source has none).

use std::ops::Range;

use bytes::Bytes;

use crate::{
    id_column::IdColumn,
    tensor_file::{TensorFile, TensorFileError, TensorWriter},
};

const INDPTR: &str = "indptr";
const INDICES: &str = "indices";
const RATINGS: &str = "ratings";
const TIMESTAMPS: &str = "timestamps";

/// The ratings of one shard's rows.
#[derive(Debug)]
pub struct RatingBlock {
    file: TensorFile,
    ids: IdColumn,
}

impl RatingBlock {
    /// Checks a file as the block of a shard with `rows` rows, where the other side has `other_rows` in all.
    ///
    /// # Errors
    /// When a tensor is missing, has another shape, or names what cannot be.
    pub fn open(file: TensorFile, rows: usize, other_rows: u64) -> Result<Self, TensorFileError> {
        let ids = IdColumn::read(&file)?;
        {
            let indptr = file.vector::<u64>(INDPTR)?;
            let indices = file.vector::<u32>(INDICES)?;
            let ratings = file.vector::<f32>(RATINGS)?;
            let timestamps = file.vector::<i64>(TIMESTAMPS)?;
            let wrong = |name: &str, reason: &str| Err(file.tensor_error(name, reason.to_owned()));
            if ids.len() != rows || indptr.len() != rows + 1 {
                let found = ids.len();
                return Err(file.tensor_error("ids", format!("it has {found} rows, the shard has {rows}")));
            }
            let spans = indptr.first() == Some(&0) && indptr.last() == Some(&(indices.len() as u64));
            if !spans || !indptr.is_sorted() {
                return wrong(INDPTR, "the offsets do not span the indices");
            }
            if ratings.len() != indices.len() || ratings.iter().any(|rating| !rating.is_finite()) {
                return wrong(RATINGS, "there is not one finite rating per index");
            }
            if timestamps.len() != indices.len() {
                return wrong(TIMESTAMPS, "there is not one time per index");
            }
            if indices.iter().any(|&row| u64::from(row) >= other_rows) {
                return wrong(INDICES, "it names a row that the other side does not have");
            }
            let ascends =
                |pair: &[u64]| indices[pair[0] as usize..pair[1] as usize].is_sorted_by(|a, b| a < b);
            if !indptr.windows(2).all(ascends) {
                return wrong(INDICES, "the indices of a row do not ascend");
            }
        }
        Ok(Self { file, ids })
    }

    /// Lets the memory go that its ratings are mapped to: see [`TensorFile::release`].
    pub fn release(&self) {
        self.file.release();
    }

    /// The ids of the rows.
    #[must_use]
    pub fn ids(&self) -> &IdColumn {
        &self.ids
    }

    /// How many rows the shard has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Where each row's ratings are: rows + 1 offsets.
    #[must_use]
    pub fn indptr(&self) -> &[u64] {
        // Checked by `open`: the default is never taken, here and below.
        self.file.vector(INDPTR).unwrap_or_default()
    }

    /// Global rows of the other side, row after row, ascending within each.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        self.file.vector(INDICES).unwrap_or_default()
    }

    /// The ratings, in the order of [`RatingBlock::indices`].
    #[must_use]
    pub fn ratings(&self) -> &[f32] {
        self.file.vector(RATINGS).unwrap_or_default()
    }

    /// Seconds since the epoch, in the order of [`RatingBlock::indices`].
    #[must_use]
    pub fn timestamps(&self) -> &[i64] {
        self.file.vector(TIMESTAMPS).unwrap_or_default()
    }

    /// Where the ratings of one row are.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn span(&self, row: usize) -> Range<usize> {
        let indptr = self.indptr();
        // Checked by `open`: offsets fit the indices, which fit in memory.
        indptr[row] as usize..indptr[row + 1] as usize
    }
}

/// The values of a block to be written.
#[derive(Debug, Clone, Copy)]
pub struct BlockValues<'a> {
    /// The ids of the rows.
    pub ids: &'a IdColumn,
    /// Rows + 1 offsets.
    pub indptr: &'a [u64],
    /// Global rows of the other side, ascending within a row.
    pub indices: &'a [u32],
    /// The rating at each index.
    pub ratings: &'a [f32],
    /// Seconds since 1970 of the rating at each index; 0 where the source has no time.
    pub timestamps: &'a [i64],
}

impl BlockValues<'_> {
    /// The file's bytes; `path` names it in errors.
    ///
    /// # Errors
    /// When the lengths do not fit together.
    pub fn to_bytes(&self, path: &str) -> Result<Bytes, TensorFileError> {
        let mut writer = TensorWriter::new();
        self.ids.write(&mut writer);
        writer.add(INDPTR, &[self.indptr.len()], self.indptr);
        writer.add(INDICES, &[self.indices.len()], self.indices);
        writer.add(RATINGS, &[self.ratings.len()], self.ratings);
        writer.add(TIMESTAMPS, &[self.timestamps.len()], self.timestamps);
        writer.to_bytes(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(indptr: &[u64], indices: &[u32], ratings: &[f32]) -> Result<RatingBlock, TensorFileError> {
        let ids = IdColumn::Integer(vec![4, 9]);
        let timestamps = vec![0; indices.len()];
        let values = BlockValues { ids: &ids, indptr, indices, ratings, timestamps: &timestamps };
        let file = TensorFile::from_bytes("block", &values.to_bytes("block").unwrap()).unwrap();
        RatingBlock::open(file, 2, 10)
    }

    #[test]
    fn reads_back_and_refuses_what_cannot_be() {
        let good = block(&[0, 2, 3], &[1, 7, 0], &[3.0, 4.5, 1.0]).unwrap();
        assert_eq!((good.span(0), good.span(1)), (0..2, 2..3));
        assert_eq!(good.indices(), [1, 7, 0]);
        for (indptr, indices, ratings, part) in [
            (vec![0, 2, 2], vec![1, 7, 0], vec![1.0; 3], "span"),
            (vec![0, 2, 3], vec![7, 1, 0], vec![1.0; 3], "ascend"),
            (vec![0, 2, 3], vec![1, 10, 0], vec![1.0; 3], "does not have"),
            (vec![0, 2, 3], vec![1, 7, 0], vec![1.0, f32::NAN, 1.0], "finite"),
            (vec![0, 3], vec![1, 7, 9], vec![1.0; 3], "rows"),
        ] {
            let error = block(&indptr, &indices, &ratings).unwrap_err().to_string();
            assert!(error.contains(part), "'{part}' is missing in: {error}");
        }
    }
}
