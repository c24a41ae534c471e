//! The tag genome (Vig, Sen and Riedl 2012) of a shard's items: how much each tag applies to each item.
//!
//! Tensors of a part: `rows` `u32[items]` (rows within the shard, ascending), `tags` `u32[tags]` (tag numbers,
//! ascending), `relevance` f32[items, tags] (0 to 1; 0 where the source has none). The names of the tags are
//! a table of their own: `tag_id` (int64) and `tag` (text), ascending by number.

use bytes::Bytes;
use parquet::errors::ParquetError;
use shoal_format::tensor_file::{TensorFile, TensorFileError, TensorWriter};

use super::table::{Column, write_table};

const ROWS: &str = "rows";
const TAGS: &str = "tags";
const RELEVANCE: &str = "relevance";

/// The genome of one shard's items.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Genome {
    /// Rows within the shard, ascending.
    pub rows: Vec<u32>,
    /// Tag numbers, ascending.
    pub tags: Vec<u32>,
    /// Relevance of each tag for each row, 0 to 1: rows × tags, row-major.
    pub relevance: Vec<f32>,
}

impl Genome {
    /// From scores by row and tag, both ascending, every pair at most once.
    #[must_use]
    pub fn from_scores(scores: &[(u32, u32, f32)]) -> Self {
        let mut rows: Vec<u32> = scores.iter().map(|score| score.0).collect();
        rows.dedup();
        let mut tags: Vec<u32> = scores.iter().map(|score| score.1).collect();
        tags.sort_unstable();
        tags.dedup();
        let mut relevance = vec![0.0; rows.len() * tags.len()];
        for (at, of_row) in scores.chunk_by(|a, b| a.0 == b.0).enumerate() {
            for (_, tag, value) in of_row {
                if let Ok(place) = tags.binary_search(tag) {
                    relevance[at * tags.len() + place] = *value;
                }
            }
        }
        Self { rows, tags, relevance }
    }

    /// Reads a part of a shard with `items` rows, checking it.
    ///
    /// # Errors
    /// When a tensor is missing, of another type or shape, or makes no sense.
    pub fn read(file: &TensorFile, items: usize) -> Result<Self, TensorFileError> {
        let rows = file.vector::<u32>(ROWS)?;
        let tags = file.vector::<u32>(TAGS)?;
        let (relevance, width) = file.matrix::<f32>(RELEVANCE, rows.len())?;
        let ascend = |numbers: &[u32]| numbers.is_sorted_by(|a, b| a < b);
        if !ascend(rows) || rows.last().is_some_and(|last| *last as usize >= items) {
            return Err(file.tensor_error(ROWS, "they are not ascending rows of the shard".to_owned()));
        }
        if !ascend(tags) || width != tags.len() {
            return Err(
                file.tensor_error(TAGS, "they are not the ascending columns of the scores".to_owned())
            );
        }
        if relevance.iter().any(|value| !value.is_finite()) {
            return Err(file.tensor_error(RELEVANCE, "a score is not finite".to_owned()));
        }
        Ok(Self { rows: rows.to_vec(), tags: tags.to_vec(), relevance: relevance.to_vec() })
    }

    /// The bytes of a part; `path` names it in errors.
    ///
    /// # Errors
    /// When the lengths do not fit together.
    pub fn to_bytes(&self, path: &str) -> Result<Bytes, TensorFileError> {
        let mut writer = TensorWriter::new();
        writer.add(ROWS, &[self.rows.len()], &self.rows);
        writer.add(TAGS, &[self.tags.len()], &self.tags);
        writer.add(RELEVANCE, &[self.rows.len(), self.tags.len()], &self.relevance);
        writer.to_bytes(path)
    }
}

/// The bytes of the table of tags, from their numbers and names in order.
///
/// # Errors
/// When Parquet refuses the values.
pub fn write_genome_tags(tags: &[(u32, String)]) -> Result<Bytes, ParquetError> {
    write_table(&[
        ("tag_id", Column::Integers(tags.iter().map(|tag| i64::from(tag.0)).collect())),
        ("tag", Column::texts(tags.iter().map(|tag| tag.1.as_str()))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_zero() {
        let genome = Genome::from_scores(&[(2, 5, 0.5), (2, 9, 0.25), (7, 1, 1.0)]);
        assert_eq!((&genome.rows[..], &genome.tags[..]), (&[2, 7][..], &[1, 5, 9][..]));
        assert_eq!(genome.relevance, [0.0, 0.5, 0.25, 1.0, 0.0, 0.0]);
        let file = TensorFile::from_bytes("g", &genome.to_bytes("g").unwrap()).unwrap();
        assert_eq!(Genome::read(&file, 8).unwrap(), genome);
        assert!(Genome::read(&file, 7).is_err());
        assert_eq!(Genome::from_scores(&[]), Genome::default());
    }
}
