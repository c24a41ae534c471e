//! The rows of a source, read without a worker.

use std::ops::Range;

use shoal_common::{
    compute::{Compute, ComputeError},
    ids::IdKind,
    store::{Access, StoreOptions},
};
use shoal_dataset::{
    parse::Rules,
    source::{SourceError, SourceFolder, inspect, rows::RowSink},
};
use shoal_format::row::Row;
use shoal_proto::v1::{DatasetSource, FileContent, ImportReport};

pub(crate) use super::import::source;

/// Why a source was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// A rating, ids as texts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadRow {
    pub(crate) user: String,
    pub(crate) item: String,
    pub(crate) rating: f32,
    pub(crate) timestamp: i64,
}

/// Keeps ratings, with their positions.
struct Kept(Vec<(u64, ReadRow)>);

impl RowSink for Kept {
    type Error = Failure;

    fn take(&mut self, row: &Row<'_>, position: u64) -> Result<(), Failure> {
        let Row::Rating(row) = row else { panic!("{row:?}") };
        let (user, item) = (row.user.to_entity().to_string(), row.item.to_entity().to_string());
        self.0.push((position, ReadRow { user, item, rating: row.rating, timestamp: row.timestamp }));
        Ok(())
    }
}

/// What was read of a source.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// In the order of the files.
    pub(crate) rows: Vec<ReadRow>,
    /// The report of every range.
    reports: Vec<ImportReport>,
}

impl Read {
    /// A count of all ranges.
    pub(crate) fn sum(&self, of: fn(&ImportReport) -> u64) -> u64 {
        self.reports.iter().map(of).sum()
    }
}

/// Reads the ratings of a source, in ranges of so many bytes where a file has ranges.
pub(crate) fn read(source: &DatasetSource, range_bytes: u64) -> Result<Read, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let compute = Compute::new("test", 2).unwrap();
        let found = inspect(source, &Access::anywhere(StoreOptions::default())).await?;
        let folder = SourceFolder::open(source, &Access::anywhere(StoreOptions::default()))?;
        let rules = Rules {
            user_id_kind: IdKind::from_proto(found.user_id_kind()).unwrap(),
            item_id_kind: IdKind::from_proto(found.item_id_kind()).unwrap(),
            rating_min: 0.0,
            rating_max: 0.0,
        };
        let mut read = Read::default();
        for file in found.files.iter().filter(|file| file.content() == FileContent::Ratings) {
            let size = if file.one_range || file.multiline { file.length_bytes } else { range_bytes };
            let mut last = None;
            for begin in (0..file.length_bytes).step_by(size as usize) {
                let range: Range<u64> = begin..(begin + size).min(file.length_bytes);
                let range = folder.read_range(file, rules, range, &compute, Kept(Vec::new()), |_| {}).await?;
                for (position, row) in range.sink.0 {
                    assert!(last < Some(position), "positions of '{}' do not ascend", file.uri);
                    last = Some(position);
                    read.rows.push(row);
                }
                read.reports.push(range.report);
            }
        }
        Ok(read)
    })
}
