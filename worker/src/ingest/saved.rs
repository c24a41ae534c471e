//! A sorted shard on the worker's own disk, from when it is sorted until every worker knows the rows of
//! the other side and its block can be written.

use std::path::PathBuf;

use bytes::Bytes;
use shoal_common::{ids::IdKind, private_files};
use shoal_format::{
    blocks::BlockValues,
    id_column::IdColumn,
    row::IdRef,
    tensor_file::{TensorFile, TensorFileError},
    tensor_pieces::{TensorPieces, Vector, VectorWriter},
};

use crate::ingest::{IngestError, shard::SortedShard};

const INDPTR: &str = "indptr";
const OTHERS: &str = "others";
const RATINGS: &str = "ratings";
const TIMESTAMPS: &str = "timestamps";
const OTHER_IDS: &str = "other_ids";
const OTHER_ID_OFFSETS: &str = "other_id_offsets";
const OTHER_ID_BYTES: &str = "other_id_bytes";

/// The file of a sorted shard.
#[derive(Debug)]
pub(super) struct SavedShard {
    path: PathBuf,
}

impl SavedShard {
    /// The file at `path`, there or not.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes the shard's ratings.
    pub(super) fn write(&self, shard: &SortedShard) -> Result<(), TensorFileError> {
        let mut vectors = vec![
            Vector::new::<u64>(INDPTR, shard.indptr.len()),
            Vector::new::<u32>(OTHERS, shard.len()),
            Vector::new::<f32>(RATINGS, shard.len()),
            Vector::new::<i64>(TIMESTAMPS, shard.len()),
        ];
        match &shard.other_ids {
            IdColumn::Integer(ids) => vectors.push(Vector::new::<i64>(OTHER_IDS, ids.len())),
            IdColumn::Text { offsets, bytes } => vectors.extend([
                Vector::new::<u64>(OTHER_ID_OFFSETS, offsets.len()),
                Vector::new::<u8>(OTHER_ID_BYTES, bytes.len()),
            ]),
        }
        let pieces = TensorPieces::create(&self.path, &vectors, private_files::create)?;
        pieces.write(INDPTR, 0, &shard.indptr)?;
        match &shard.other_ids {
            IdColumn::Integer(ids) => pieces.write(OTHER_IDS, 0, ids)?,
            IdColumn::Text { offsets, bytes } => {
                pieces.write(OTHER_ID_OFFSETS, 0, offsets)?;
                pieces.write(OTHER_ID_BYTES, 0, bytes)?;
            }
        }
        let mut others = VectorWriter::new(&pieces, OTHERS, 0);
        let mut ratings = VectorWriter::new(&pieces, RATINGS, 0);
        let mut timestamps = VectorWriter::new(&pieces, TIMESTAMPS, 0);
        for (other, rating, timestamp) in shard.ratings() {
            others.push(other)?;
            ratings.push(rating)?;
            timestamps.push(timestamp)?;
        }
        others.flush()?;
        ratings.flush()?;
        timestamps.flush()
    }

    /// The block's bytes, `name` in errors. `ids` are those of its rows; `other_row` gives the global row of an id of the
    /// other side.
    pub(super) fn block(
        &self,
        name: &str,
        ids: &IdColumn,
        other_kind: IdKind,
        other_row: impl Fn(IdRef<'_>) -> Option<u32>,
    ) -> Result<Bytes, IngestError> {
        let file = TensorFile::map(&self.path)?;
        let other_ids = other_ids(&file, other_kind)?;
        let rows = (0..other_ids.len()).map(|place| {
            let id = other_ids.get_ref(place);
            let unknown = || format!("'{}' has a rating but is in no id list", id.to_entity());
            other_row(id).ok_or_else(|| IngestError::Request(unknown()))
        });
        // Places are in the order of global rows, so rows ascend within a row of the block as places do.
        let rows = rows.collect::<Result<Vec<u32>, _>>()?;
        let others = file.vector::<u32>(OTHERS)?;
        let indices = others.iter().map(|&place| rows.get(place as usize).copied());
        let indices = indices.collect::<Option<Vec<u32>>>();
        let indices =
            indices.ok_or_else(|| file.tensor_error(OTHERS, "it names an id that is not there".into()))?;
        let values = BlockValues {
            ids,
            indptr: file.vector(INDPTR)?,
            indices: &indices,
            ratings: file.vector(RATINGS)?,
            timestamps: file.vector(TIMESTAMPS)?,
        };
        Ok(values.to_bytes(name)?)
    }
}

/// The other side's ids; not ascending over all, so no [`IdColumn::read`].
fn other_ids(file: &TensorFile, kind: IdKind) -> Result<IdColumn, TensorFileError> {
    Ok(match kind {
        IdKind::Integer => IdColumn::Integer(file.vector(OTHER_IDS)?.to_vec()),
        IdKind::Text => IdColumn::Text {
            offsets: file.vector(OTHER_ID_OFFSETS)?.to_vec(),
            bytes: file.vector(OTHER_ID_BYTES)?.to_vec(),
        },
    })
}
