//! Parquet files. A range stands for the row groups that start in it; of each only the columns that are
//! wanted are fetched, and are in memory until its rows are read.

mod cells;
mod fetched;
mod ids;
mod meaning;
mod rows;

use std::{ops::Range, sync::Arc};

use parquet::{
    errors::ParquetError,
    file::{
        metadata::{
            ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
            page_index::RowGroupPageIndex,
        },
        properties::ReaderProperties,
        reader::RowGroupReader as _,
        serialized_reader::SerializedRowGroupReader,
        statistics::Statistics,
    },
    schema::types::ColumnDescPtr,
};
use shoal_common::store::join;
use shoal_format::row::Row;
use shoal_proto::v1::SourceFile;

use self::{
    cells::{Cell, CellReader},
    fetched::Fetched,
    ids::look_at_ids,
    meaning::{Role, is_plain_integer, is_readable, roles},
    rows::read_row,
};
use super::{SourceError, SourceFolder, look::IdLook};
use crate::{
    parse::{Rules, Tally},
    values::Values,
};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 4_096;

/// A file whose footer was read.
pub(super) struct ParquetFile {
    uri: String,
    metadata: Arc<ParquetMetaData>,
    footer: Fetched,
}

/// A row group, and the number of its first row in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    index: usize,
    first_row: u64,
}

/// A row group's columns in memory.
pub(super) struct GroupBytes {
    uri: String,
    metadata: Arc<ParquetMetaData>,
    fetched: Arc<Fetched>,
    group: Group,
    length: u64,
}

/// Where a row group starts in the file. It is 0 for a group whose offsets are impossible; reading it fails then and says
/// so.
fn start(group: &RowGroupMetaData) -> u64 {
    let starts = group.columns().iter().filter_map(|column| {
        let first = column.dictionary_page_offset().unwrap_or(i64::MAX).min(column.data_page_offset());
        u64::try_from(first).ok()
    });
    starts.min().unwrap_or_default()
}

/// Takes back what a column says of its dictionary where that is nonsense: some writers put a 0 where there is none.
fn mended(metadata: ParquetMetaData) -> parquet::errors::Result<ParquetMetaData> {
    let is_nonsense = |column: &ColumnChunkMetaData| {
        column
            .dictionary_page_offset()
            .is_some_and(|offset| offset <= 0 || offset >= column.data_page_offset())
    };
    if !metadata.row_groups().iter().flat_map(|group| group.columns()).any(is_nonsense) {
        return Ok(metadata);
    }
    let mut builder = metadata.into_builder();
    let mut groups = Vec::new();
    for group in builder.take_row_groups() {
        let columns = group.columns().iter().map(|column| {
            if is_nonsense(column) {
                column.clone().into_builder().set_dictionary_page_offset(None).build()
            } else {
                Ok(column.clone())
            }
        });
        let columns = columns.collect::<parquet::errors::Result<Vec<_>>>()?;
        groups.push(group.into_builder().set_column_metadata(columns).build()?);
    }
    Ok(builder.set_row_groups(groups).build())
}

impl ParquetFile {
    /// Reads the footer of a file of this length.
    pub(super) async fn open(folder: &SourceFolder, name: &str, length: u64) -> Result<Self, SourceError> {
        let uri = join(&folder.uri, name);
        let footer = Fetched::footer(folder, name, length).await?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&footer).and_then(mended);
        let metadata = metadata.map_err(|source| SourceError::Parquet { file: uri.clone(), source })?;
        Ok(Self { uri, metadata: Arc::new(metadata), footer })
    }

    fn described(&self, column: usize) -> ColumnDescPtr {
        self.metadata.file_metadata().schema_descr().column(column)
    }

    /// The names of the columns: of a list the list's own, of what lies in a group both names with a point between, and an
    /// empty one of what lies in a list's groups and cannot be read.
    pub(super) fn columns(&self) -> Vec<String> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let name = |column: &ColumnDescPtr| {
            let parts = column.path().parts();
            let in_list =
                columns.iter().filter(|other| other.path().parts().first() == parts.first()).count();
            match column.max_rep_level() {
                0 => parts.join("."),
                1 if in_list == 1 => parts.first().cloned().unwrap_or_default(),
                _ => String::new(),
            }
        };
        columns.iter().map(name).collect()
    }

    /// What the ids are in those of a file's first two columns that have ids, if all of its columns can be read as what they are for.
    ///
    /// # Errors
    /// When one cannot.
    pub(super) fn look_at_ids(&self, file: &SourceFile) -> Result<[Option<IdLook>; 2], SourceError> {
        let mut ids = [None, None];
        for (at, (&column, &role)) in file.columns.iter().zip(roles(file.content())).enumerate() {
            let Ok(column) = usize::try_from(column) else { continue };
            let described = self.described(column);
            if !is_readable(&described, role) {
                let logical = described.logical_type_ref().map(|logical| format!(" ({logical:?})"));
                let list = if described.max_rep_level() > 0 { "lists of " } else { "" };
                let kind = format!("{list}{}{}", described.physical_type(), logical.unwrap_or_default());
                return Err(SourceError::ColumnType {
                    file: self.uri.clone(),
                    column: described.path().string(),
                    kind,
                });
            }
            if let (Role::Id, Some(ids)) = (role, ids.get_mut(at)) {
                *ids = Some(look_at_ids(&described, &self.metadata, column));
            }
        }
        Ok(ids)
    }

    /// The least value of a column of plain integers, where the footer tells it of the first row group.
    pub(super) fn least_integer(&self, column: usize) -> Option<i64> {
        if !is_plain_integer(&self.described(column)) {
            return None;
        }
        match self.metadata.row_groups().first()?.columns().get(column)?.statistics()? {
            Statistics::Int64(values) => values.min_opt().copied(),
            Statistics::Int32(values) => values.min_opt().copied().map(i64::from),
            _ => None,
        }
    }

    /// The row groups that start in a range of the file.
    pub(super) fn groups_in(&self, range: &Range<u64>) -> Vec<Group> {
        let mut first_row = 0;
        let numbered = self.metadata.row_groups().iter().enumerate().map(|(index, group)| {
            let numbered = Group { index, first_row };
            first_row += u64::try_from(group.num_rows()).unwrap_or_default();
            (start(group), numbered)
        });
        numbered.filter(|(start, _)| range.contains(start)).map(|(_, group)| group).collect()
    }

    /// Fetches a group's columns that `file` names.
    pub(super) async fn fetch(
        &self,
        folder: &SourceFolder,
        group: Group,
        file: &SourceFile,
    ) -> Result<GroupBytes, SourceError> {
        let described = self.metadata.row_group(group.index);
        let mut fetched = self.footer.clone();
        let mut length = 0;
        for column in file.columns.iter().filter_map(|&column| usize::try_from(column).ok()) {
            let column = described.columns().get(column);
            let range = column.filter(|column| {
                column.compressed_size() >= 0
                    && column.data_page_offset() >= 0
                    && column.dictionary_page_offset().is_none_or(|offset| offset >= 0)
            });
            let Some((begin, size)) = range.map(|column| column.byte_range()) else {
                let source = ParquetError::General("a column has no place in the file".to_owned());
                return Err(SourceError::Parquet { file: self.uri.clone(), source });
            };
            fetched.add(folder, &file.uri, begin..begin.saturating_add(size)).await?;
            length += size;
        }
        let (uri, metadata) = (self.uri.clone(), Arc::clone(&self.metadata));
        Ok(GroupBytes { uri, metadata, fetched: Arc::new(fetched), group, length })
    }
}

impl GroupBytes {
    /// How many bytes of the row group were fetched.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Hands the group's rows to `on_row` with their numbers in the file.
    pub(super) fn read<E: From<SourceError>>(
        &self,
        file: &SourceFile,
        rules: &Rules,
        tally: &mut Tally,
        mut on_row: impl FnMut(&Row<'_>, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let broken = |source| SourceError::Parquet { file: self.uri.clone(), source };
        let group = SerializedRowGroupReader::new(
            Arc::clone(&self.fetched),
            self.metadata.row_group(self.group.index),
            RowGroupPageIndex::new(self.group.index, None),
            Arc::new(ReaderProperties::builder().build()),
        );
        let group = group.map_err(broken)?;
        let mut columns = Vec::new();
        for &column in &file.columns {
            columns.push(match usize::try_from(column) {
                Ok(column) => Some(CellReader::new(&group, column).map_err(broken)?),
                Err(_) => None,
            });
        }
        let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let mut number = self.group.first_row;
        let values = Values::new(file);
        while left > 0 {
            let count = left.min(BATCH_ROWS);
            for column in columns.iter_mut().flatten() {
                column.fill(count).map_err(broken)?;
            }
            for _ in 0..count {
                let cells: Vec<Cell<'_>> = columns
                    .iter_mut()
                    .map(|column| column.as_mut().map_or(Cell::Null, CellReader::next))
                    .collect();
                let mut taken = Ok(());
                let outcome = read_row(file, rules, &values, &cells, |row| {
                    if taken.is_ok() {
                        taken = on_row(row, number);
                    }
                });
                taken?;
                number += 1;
                tally.count(outcome, number);
            }
            left -= count;
        }
        Ok(())
    }
}
