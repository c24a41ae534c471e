//! The first rows of a source, read as an import would read them, and kept nowhere.

use shoal_common::{
    compute::{Compute, ComputeError},
    ids::IdKind,
    store::Access,
};
use shoal_format::row::Row;
use shoal_proto::v1::{DatasetSource, InspectSourceReply};

use super::{SourceError, SourceFolder, inspect, rows::RowSink};
use crate::parse::Rules;

/// Bytes of each file whose rows are read; of Parquet files the row groups that start there.
const PREVIEW_BYTES: u64 = 256 * 1024;

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] Box<SourceError>),
    /// The compute pool failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

impl From<SourceError> for PreviewError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

/// Takes rows and keeps none.
struct Nowhere;

impl RowSink for Nowhere {
    type Error = PreviewError;

    fn take(&mut self, _: &Row<'_>, _: u64) -> Result<(), PreviewError> {
        Ok(())
    }
}

/// Looks at a source, and reads the first rows of each of its files.
///
/// # Errors
/// As [`inspect()`], and when the rows cannot be read.
pub async fn preview(
    source: &DatasetSource,
    access: &Access,
    compute: &Compute,
) -> Result<InspectSourceReply, PreviewError> {
    let mut found = inspect(source, access).await?;
    let folder = SourceFolder::open(source, access)?;
    let kind = |kind| IdKind::from_proto(kind).unwrap_or(IdKind::Text);
    let rules = Rules {
        user_id_kind: kind(found.user_id_kind()),
        item_id_kind: kind(found.item_id_kind()),
        rating_min: source.rating_min,
        rating_max: source.rating_max,
    };
    for file in &found.files {
        let end = file.length_bytes.min(file.data_offset.saturating_add(PREVIEW_BYTES));
        let read = folder.read_range(file, rules, 0..end, compute, Nowhere, |_| ()).await?;
        found.previews.push(read.report);
    }
    Ok(found)
}
