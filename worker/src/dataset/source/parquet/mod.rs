//! Parquet files. A range stands for the row groups that start in it; of each only the columns that are
//! wanted are fetched, and are in memory until its rows are read.

mod cells;
mod fetched;

use std::ops::Range;

use parquet::{
    errors::ParquetError,
    file::{
        metadata::RowGroupMetaData,
        reader::{FileReader as _, SerializedFileReader},
    },
};
use shoal_common::ids::IdKind;
use shoal_proto::v1::{FileContent, SourceFile};

use self::{
    cells::{Cell, CellReader, Id, holds_numbers, is_readable},
    fetched::Fetched,
};
use super::{SourceError, SourceFolder};
use crate::dataset::{
    fields,
    parse::{Reason, Rules, Tally},
    row::{MovieRow, RatingRow, Row},
};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 4_096;

/// A file whose footer was read.
pub(super) struct ParquetFile {
    uri: String,
    reader: SerializedFileReader<Fetched>,
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
    reader: SerializedFileReader<Fetched>,
    group: Group,
    length: u64,
}

/// Where a row group starts in the file; 0 for one that says nonsense, which reading it will tell.
fn start(group: &RowGroupMetaData) -> u64 {
    let starts = group.columns().iter().filter_map(|column| {
        let first = column.dictionary_page_offset().unwrap_or(i64::MAX).min(column.data_page_offset());
        u64::try_from(first).ok()
    });
    starts.min().unwrap_or_default()
}

impl ParquetFile {
    /// Reads the footer of a file of this length.
    pub(super) async fn open(folder: &SourceFolder, name: &str, length: u64) -> Result<Self, SourceError> {
        let uri = format!("{}/{name}", folder.uri);
        let footer = Fetched::footer(folder, name, length).await?;
        let reader = SerializedFileReader::new(footer.clone());
        let reader = reader.map_err(|source| SourceError::Parquet { file: uri.clone(), source })?;
        Ok(Self { uri, reader, footer })
    }

    /// The names of the columns; those of nested ones are empty, as they cannot be read.
    pub(super) fn columns(&self) -> Vec<String> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let name = |column: &parquet::schema::types::ColumnDescPtr| match column.path().parts() {
            [name] if column.max_rep_level() == 0 => name.clone(),
            _ => String::new(),
        };
        schema.columns().iter().map(name).collect()
    }

    /// Whether a column holds whole numbers, texts or something else that is read.
    ///
    /// # Errors
    /// When its values are of a type that is not.
    pub(super) fn id_kind(&self, column: usize) -> Result<IdKind, SourceError> {
        let described = self.reader.metadata().file_metadata().schema_descr().column(column);
        if !is_readable(&described) {
            let kind = described.physical_type().to_string();
            return Err(SourceError::ColumnType {
                file: self.uri.clone(),
                column: described.name().to_owned(),
                kind,
            });
        }
        Ok(if holds_numbers(&described) { IdKind::Integer } else { IdKind::Text })
    }

    /// The row groups that start in a range of the file.
    pub(super) fn groups_in(&self, range: &Range<u64>) -> Vec<Group> {
        let mut first_row = 0;
        let numbered = self.reader.metadata().row_groups().iter().enumerate().map(|(index, group)| {
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
        let described = self.reader.metadata().row_group(group.index);
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
        let reader = SerializedFileReader::new(fetched)
            .map_err(|source| SourceError::Parquet { file: self.uri.clone(), source })?;
        Ok(GroupBytes { uri: self.uri.clone(), reader, group, length })
    }
}

impl GroupBytes {
    /// Bytes fetched.
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
        let group = self.reader.get_row_group(self.group.index).map_err(broken)?;
        let mut columns = Vec::new();
        for &column in &file.columns {
            columns.push(match usize::try_from(column) {
                Ok(column) => Some(CellReader::new(group.as_ref(), column).map_err(broken)?),
                Err(_) => None,
            });
        }
        let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let mut number = self.group.first_row;
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
                let outcome = read_row(file, rules, &cells, |row| taken = on_row(row, number));
                taken?;
                number += 1;
                tally.count(outcome, number);
            }
            left -= count;
        }
        Ok(())
    }
}

fn read_row(
    file: &SourceFile,
    rules: &Rules,
    cells: &[Cell<'_>],
    on_row: impl FnOnce(&Row<'_>),
) -> Result<(), Reason> {
    let cell = |role: usize| cells.get(role).unwrap_or(&Cell::Null);
    let item = |role| Id::read(cell(role), rules.item_id_kind, Reason::EmptyItem, Reason::ItemNotInteger);
    if file.content() == FileContent::Movies {
        let (item, title) = (item(0)?, cell(1).text());
        let title = title.trim();
        let row = MovieRow {
            item: item.borrow(),
            title: title.into(),
            year: fields::title_year(title),
            genres: fields::genres(&cell(2).text()),
        };
        on_row(&Row::Movie(row));
        return Ok(());
    }
    let user = Id::read(cell(0), rules.user_id_kind, Reason::EmptyUser, Reason::UserNotInteger)?;
    let item = item(1)?;
    let rating = rules.accept(cell(2).number().ok_or(Reason::RatingNotNumber)?)?;
    let has_times = file.columns.get(3).is_some_and(|&column| column >= 0);
    let timestamp = if has_times { cell(3).seconds().ok_or(Reason::BadTimestamp)? } else { 0 };
    on_row(&Row::Rating(RatingRow { user: user.borrow(), item: item.borrow(), rating, timestamp }));
    Ok(())
}
